/**
 * The same requests to our registry and to Debian's docker-registry: where the specification leaves no
 * choice, they must be answered alike. What only version 1.1 has is asked of ours alone.
 */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import {
  blobOf,
  type DistributionAnswer,
  imageOf,
  openDistribution,
  pushBlob,
  pushImage,
  type Send,
  sha256,
  types,
  withQuery,
} from "../support/distribution.ts";
import {
  type DockerRegistry,
  hasDockerRegistry,
  startDockerRegistry,
} from "../support/docker-registry.ts";
import { startTugRegistry, type TugRegistry } from "../support/tug-registry.ts";

let ours: TugRegistry;
let theirs: DockerRegistry | undefined;

beforeAll(async () => {
  ours = await startTugRegistry();
  theirs = hasDockerRegistry ? await startDockerRegistry() : undefined;
}, 30_000);
afterAll(async () => {
  await ours[Symbol.asyncDispose]();
  await theirs?.[Symbol.asyncDispose]();
});

/** What of an answer must be alike. */
interface Compared {
  readonly step: string;
  readonly status: number;
  readonly codes: readonly string[];
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
}

const comparedHeaders = [
  "docker-content-digest",
  "docker-distribution-api-version",
  "content-range",
  "range",
  "location",
] as const;
const missing = `sha256:${"0".repeat(64)}`;
const octets = { "Content-Type": "application/octet-stream" };

/** Notes answers, without what differs from run to run. */
class Notes {
  readonly steps: Compared[] = [];

  note(step: string, answer: DistributionAnswer, options: { readonly body?: boolean } = {}): void {
    const headers: { [name: string]: string } = {};
    for (const name of comparedHeaders) {
      const value = answer.headers.get(name);
      if (value !== null) headers[name] = value;
    }
    if (headers["location"] !== undefined) {
      const path = answer.location.split("?")[0] ?? "";
      headers["location"] = path.replace(/uploads\/[0-9a-f-]{32,36}$/, "uploads/<id>");
    }
    for (const name of options.body === true
      ? ["content-type", "content-length", "etag", "link", "accept-ranges"]
      : []) {
      const value = answer.headers.get(name);
      if (value !== null) headers[name] = value.replace("; charset=utf-8", "");
    }
    this.steps.push({
      step,
      status: answer.status,
      codes: answer.codes,
      headers,
      ...(options.body === true ? { body: answer.text.trimEnd() } : {}),
    });
  }
}

type Scenario = (send: Send, record: Notes) => Promise<void>;

const scenarios: { readonly [name: string]: Scenario } = {
  async "ping and what is not there"(send, record) {
    for (const line of [
      "GET /v2/",
      `GET /v2/none/blobs/${missing}`,
      `HEAD /v2/none/blobs/${missing}`,
      `DELETE /v2/none/blobs/${missing}`,
      "GET /v2/none/manifests/latest",
      `GET /v2/none/manifests/${missing}`,
      "HEAD /v2/none/manifests/latest",
      `DELETE /v2/none/manifests/${missing}`,
      "GET /v2/none/tags/list",
    ]) {
      record.note(line, await send(line));
    }
  },

  async "an upload in two requests"(send, record) {
    const blob = blobOf("two requests");
    const begun = await send("POST /v2/up/two/blobs/uploads/");
    record.note("begin", begun);
    const asked = await send(`GET ${begun.location}`);
    record.note("status", asked);
    const done = await send(`PUT ${withQuery(begun.location, `digest=${blob.digest}`)}`, {
      body: blob.bytes,
      headers: octets,
    });
    record.note("finish", done);
    record.note("get", await send(`GET /v2/up/two/blobs/${blob.digest}`), { body: true });
    record.note("head", await send(`HEAD /v2/up/two/blobs/${blob.digest}`), { body: true });
    record.note("elsewhere", await send(`GET /v2/up/other/blobs/${blob.digest}`));
    const gone = await send(`GET ${begun.location}`);
    record.note("the upload is over", gone);
  },

  async "an upload in chunks"(send, record) {
    const whole = "0123456789abcdefghij";
    const begun = await send("POST /v2/up/chunks/blobs/uploads/");
    const first = await send(`PATCH ${begun.location}`, {
      body: whole.slice(0, 10),
      headers: { ...octets, "Content-Range": "0-9" },
    });
    record.note("first", first);
    const status = await send(`GET ${first.location}`);
    record.note("status", status);
    const second = await send(`PATCH ${status.location}`, {
      body: whole.slice(10),
      headers: { ...octets, "Content-Range": "10-19" },
    });
    record.note("second", second);
    record.note(
      "finish",
      await send(`PUT ${withQuery(second.location, `digest=${sha256(whole)}`)}`),
    );
    record.note("get", await send(`GET /v2/up/chunks/blobs/${sha256(whole)}`), { body: true });
  },

  async "uploads that go wrong"(send, record) {
    const begun = await send("POST /v2/up/wrong/blobs/uploads/");
    record.note("no digest", await send(`PUT ${begun.location}`, { headers: octets }));
    const bad = withQuery(begun.location, "digest=sha256:zz");
    record.note("no such digest", await send(`PUT ${bad}`, { headers: octets }));
    const other = await send("POST /v2/up/wrong/blobs/uploads/");
    const wrong = withQuery(other.location, `digest=${missing}`);
    record.note("other bytes", await send(`PUT ${wrong}`, { body: "x", headers: octets }));
    const canceled = await send("POST /v2/up/wrong/blobs/uploads/");
    record.note("cancel", await send(`DELETE ${canceled.location}`));
    const after = await send(`PATCH ${canceled.location}`, { body: "x", headers: octets });
    record.note("after that", after);
  },

  async "a mount"(send, record) {
    const blob = blobOf("to be mounted");
    await pushBlob(send, "mount/from", blob);
    const query = `mount=${blob.digest}&from=mount/from`;
    record.note("mount", await send(`POST /v2/mount/to/blobs/uploads/?${query}`));
    record.note("it is there", await send(`HEAD /v2/mount/to/blobs/${blob.digest}`));
    const none = `mount=${missing}&from=mount/from`;
    record.note("what is not there", await send(`POST /v2/mount/to/blobs/uploads/?${none}`));
    const nowhere = `mount=${blob.digest}&from=mount/nowhere`;
    const answer = await send(`POST /v2/mount/third/blobs/uploads/?${nowhere}`);
    record.note("from nowhere", answer);
  },

  async "ranges of a blob"(send, record) {
    const blob = blobOf("0123456789");
    await pushBlob(send, "range/r", blob);
    for (const range of ["bytes=0-3", "bytes=4-", "bytes=-3", "bytes=8-100"]) {
      const answer = await send(`GET /v2/range/r/blobs/${blob.digest}`, {
        headers: { Range: range },
      });
      record.note(range, answer, { body: true });
    }
    const etag = { "If-None-Match": `"${blob.digest}"` };
    record.note("unchanged", await send(`GET /v2/range/r/blobs/${blob.digest}`, { headers: etag }));
  },

  async "an image by tag and by digest"(send, record) {
    const image = imageOf("one");
    record.note("push", await pushImage(send, { repository: "img/a", tag: "v1" }, image));
    const { digest } = image.manifest;
    const accept = { headers: { Accept: types.manifest } };
    for (const name of ["v1", digest]) {
      record.note("get", await send(`GET /v2/img/a/manifests/${name}`, accept), { body: true });
      record.note("head", await send(`HEAD /v2/img/a/manifests/${name}`, accept), { body: true });
    }
    const etag = { headers: { Accept: types.manifest, "If-None-Match": `"${digest}"` } };
    const unchanged = await send("GET /v2/img/a/manifests/v1", etag);
    record.note("unchanged", { ...unchanged, headers: new Headers() });
    record.note("tags", await send("GET /v2/img/a/tags/list"), { body: true });
    record.note("remove", await send(`DELETE /v2/img/a/manifests/${digest}`));
    record.note("it is gone", await send(`GET /v2/img/a/manifests/${digest}`, accept));
    record.note("so is its tag", await send("GET /v2/img/a/manifests/v1", accept));
  },

  async "Docker's own kinds, and an index"(send, record) {
    const image = imageOf("docker");
    await pushImage(send, { repository: "img/b", tag: "oci" }, image);
    const docker = blobOf(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: types.dockerManifest,
        config: {
          mediaType: types.dockerConfig,
          digest: image.config.digest,
          size: image.config.bytes.length,
        },
        layers: [],
      }),
    );
    const put = async (line: string, mediaType: string, body: Uint8Array): Promise<void> =>
      record.note(
        line,
        await send(`PUT ${line}`, { body, headers: { "Content-Type": mediaType } }),
      );
    await put("/v2/img/b/manifests/docker", types.dockerManifest, docker.bytes);
    const entry = (mediaType: string, digest: string, size: number): object => ({
      mediaType,
      digest,
      size,
      platform: { architecture: "amd64", os: "linux" },
    });
    const indexOf = (mediaType: string, child: object): Uint8Array =>
      blobOf(JSON.stringify({ schemaVersion: 2, mediaType, manifests: [child] })).bytes;
    const { digest, bytes } = image.manifest;
    const index = indexOf(types.index, entry(types.manifest, digest, bytes.length));
    await put("/v2/img/b/manifests/index", types.index, index);
    const list = indexOf(
      types.dockerList,
      entry(types.dockerManifest, docker.digest, docker.bytes.length),
    );
    await put("/v2/img/b/manifests/list", types.dockerList, list);
    const accept = { headers: { Accept: Object.values(types).join(", ") } };
    for (const tag of ["docker", "index", "list"]) {
      record.note(tag, await send(`GET /v2/img/b/manifests/${tag}`, accept), { body: true });
    }
  },

  async "manifests that are refused"(send, record) {
    const image = imageOf("refused");
    await pushBlob(send, "img/c", image.config);
    const put = async (step: string, name: string, body: string | Uint8Array): Promise<void> => {
      const options = { body, headers: { "Content-Type": types.manifest } };
      record.note(step, await send(`PUT /v2/img/c/manifests/${name}`, options));
    };
    await put("a layer is missing", "x", image.manifest.bytes);
    await put("no JSON", "x", "nonsense");
    await pushBlob(send, "img/c", image.layer);
    await put("another digest", missing, image.manifest.bytes);
    await put("all is there", "x", image.manifest.bytes);
  },

  async "a blob that is removed"(send, record) {
    const blob = blobOf("to be removed");
    await pushBlob(send, "del/d", blob);
    record.note("remove", await send(`DELETE /v2/del/d/blobs/${blob.digest}`));
    record.note("it is gone", await send(`GET /v2/del/d/blobs/${blob.digest}`));
    record.note("again", await send(`DELETE /v2/del/d/blobs/${blob.digest}`));
    record.note("pushed again", await pushBlob(send, "del/d", blob));
    record.note("it is there", await send(`GET /v2/del/d/blobs/${blob.digest}`), { body: true });
  },

  async "the catalog, in pages"(send, record) {
    for (const name of ["zz/1", "zz/2", "zz/3"]) {
      await pushImage(send, { repository: name, tag: "t" }, imageOf("catalog"));
    }
    const pageOf = async (query: string): Promise<void> =>
      record.note(query, await send(`GET /v2/_catalog?${query}`), { body: true });
    await pageOf("n=2&last=zz");
    await pageOf("n=2&last=zz/2");
    await pageOf("n=2&last=zz/3");
  },
};

describe.skipIf(!hasDockerRegistry)("as docker-registry answers", () => {
  for (const [name, scenario] of Object.entries(scenarios)) {
    test(name, async () => {
      const [mine, other] = [new Notes(), new Notes()];
      await scenario(openDistribution(theirs?.url ?? ""), other);
      await scenario(openDistribution(ours.url), mine);
      expect(mine.steps).toEqual(other.steps);
    });
  }
});

describe("what only version 1.1 has, or docker-registry leaves out", () => {
  const send: Send = async (line, options) => await openDistribution(ours.url)(line, options);
  const put = async (
    target: string,
    body: string | Uint8Array,
    mediaType: string = types.manifest,
  ): Promise<DistributionAnswer> =>
    await send(`PUT /v2/${target}`, { body, headers: { "Content-Type": mediaType } });

  test("a chunk that does not begin where the upload ends is refused with 416", async () => {
    const begun = await send("POST /v2/o/chunks/blobs/uploads/");
    const patch = async (range: string, body: string): Promise<DistributionAnswer> =>
      await send(`PATCH ${begun.location}`, {
        body,
        headers: { ...octets, "Content-Range": range },
      });
    expect((await patch("0-4", "01234")).status).toBe(202);
    for (const range of ["0-4", "6-10", "4-8", "9-5"]) {
      const refused = await patch(range, "56789");
      expect([range, refused.status, refused.codes]).toEqual([range, 416, ["RANGE_INVALID"]]);
      expect(refused.headers.get("range")).toBe("0-4");
    }
    expect((await patch("5-20", "56789")).codes).toEqual(["SIZE_INVALID"]);
    expect((await patch("five", "56789")).status).toBe(400);
    expect((await patch("5-9", "56789")).headers.get("range")).toBe("0-9");
    const digest = sha256("0123456789abc");
    const done = await send(`PUT ${begun.location}?digest=${digest}`, {
      body: "abc",
      headers: { ...octets, "Content-Range": "10-12" },
    });
    expect(done.status).toBe(201);
    expect((await send(`GET /v2/o/chunks/blobs/${digest}`)).text).toBe("0123456789abc");
  });

  test("a whole blob in one request, by sha256 and by sha512", async () => {
    const body = "one request";
    const sha512 = `sha512:${new Bun.CryptoHasher("sha512").update(body).digest("hex")}`;
    for (const digest of [sha256(body), sha512]) {
      const done = await send(`POST /v2/o/one/blobs/uploads/?digest=${digest}`, {
        body,
        headers: octets,
      });
      expect([done.status, done.headers.get("docker-content-digest")]).toEqual([201, digest]);
      expect((await send(`GET /v2/o/one/blobs/${digest}`)).text).toBe(body);
    }
    const late = await send("POST /v2/o/late/blobs/uploads/");
    const done = await send(`PUT ${late.location}?digest=${sha512}`, { body, headers: octets });
    expect(done.status).toBe(201);
    const wrong = await send(`POST /v2/o/one/blobs/uploads/?digest=${missing}`, {
      body,
      headers: octets,
    });
    expect([wrong.status, wrong.codes]).toEqual([400, ["DIGEST_INVALID"]]);
  });

  test("a mount finds the blob by itself", async () => {
    const blob = blobOf("found by itself");
    await pushBlob(send, "o/somewhere", blob);
    const mounted = await send(`POST /v2/o/else/blobs/uploads/?mount=${blob.digest}`);
    expect([mounted.status, mounted.location]).toEqual([201, `/v2/o/else/blobs/${blob.digest}`]);
    expect((await send(`GET /v2/o/else/blobs/${blob.digest}`)).text).toBe("found by itself");
  });

  test("a range that is not there is answered 416 with the size", async () => {
    const blob = blobOf("0123456789");
    await pushBlob(send, "o/range", blob);
    for (const range of ["bytes=10-", "bytes=-0", "bytes=5-4", "bytes=a-b"]) {
      const answer = await send(`GET /v2/o/range/blobs/${blob.digest}`, {
        headers: { Range: range },
      });
      expect([range, answer.status, answer.headers.get("content-range")]).toEqual([
        ...[range, 416, "bytes */10"],
      ]);
    }
    const old = { Range: "bytes=0-1", "If-Range": '"other"' };
    const whole = await send(`GET /v2/o/range/blobs/${blob.digest}`, { headers: old });
    expect([whole.status, whole.text]).toEqual([200, "0123456789"]);
  });

  test("a tag is removed alone, and a digest with its tags", async () => {
    const image = imageOf("tags");
    for (const tag of ["b", "a", "c"]) await pushImage(send, { repository: "o/tags", tag }, image);
    expect((await send("DELETE /v2/o/tags/manifests/b")).status).toBe(202);
    expect((await send("DELETE /v2/o/tags/manifests/b")).codes).toEqual(["MANIFEST_UNKNOWN"]);
    expect((await send("GET /v2/o/tags/tags/list")).text).toContain('["a","c"]');
    expect((await send(`GET /v2/o/tags/manifests/${image.manifest.digest}`)).status).toBe(200);
    await send(`DELETE /v2/o/tags/manifests/${image.manifest.digest}`);
    expect((await send("GET /v2/o/tags/tags/list")).text).toContain('"tags":[]');
  });

  test("tags come sorted, and in pages", async () => {
    const image = imageOf("pages");
    for (const tag of ["v2", "v10", "Z", "a", "_x"]) {
      await pushImage(send, { repository: "o/pages", tag }, image);
    }
    const seen: string[] = [];
    let next: string | undefined = "/v2/o/pages/tags/list?n=2";
    while (next !== undefined) {
      const page = await send(`GET ${next}`);
      seen.push(...(JSON.parse(page.text) as { tags: string[] }).tags);
      next = /<([^>]+)>; rel="next"/.exec(page.headers.get("link") ?? "")?.[1];
    }
    expect(seen).toEqual(["Z", "_x", "a", "v10", "v2"]);
    expect((await send("GET /v2/o/pages/tags/list?n=0")).text).toContain('"tags":[]');
    expect((await send("GET /v2/o/pages/tags/list?last=a&n=1")).text).toContain('["v10"]');
    expect((await send("GET /v2/o/pages/tags/list?n=x")).codes).toEqual([
      "PAGINATION_NUMBER_INVALID",
    ]);
  });

  test("referrers are listed by their subject, with a filter", async () => {
    const image = imageOf("subject");
    await pushImage(send, { repository: "o/ref", tag: "v" }, image);
    const { digest, bytes } = image.manifest;
    const subject = { mediaType: types.manifest, digest, size: bytes.length };
    const empty = blobOf("{}");
    await pushBlob(send, "o/ref", empty);
    const refer = async (artifactType: string): Promise<DistributionAnswer> => {
      const config = { mediaType: artifactType, digest: empty.digest, size: 2 };
      const annotations = { of: artifactType };
      const document = { schemaVersion: 2, mediaType: types.manifest, config, layers: [] };
      const body = JSON.stringify({ ...document, subject, annotations });
      return await put(`o/ref/manifests/${sha256(body)}`, body);
    };
    const pushed = await refer("application/sbom");
    expect([pushed.status, pushed.headers.get("oci-subject")]).toEqual([201, digest]);
    await refer("application/signature");
    const all = await send(`GET /v2/o/ref/referrers/${digest}`);
    expect([all.status, all.headers.get("content-type")]).toEqual([200, types.index]);
    const list = (JSON.parse(all.text) as { manifests: { artifactType: string }[] }).manifests;
    expect(list.map((one) => one.artifactType).sort()).toEqual([
      "application/sbom",
      "application/signature",
    ]);
    expect(list[0]).toMatchObject({ mediaType: types.manifest, annotations: {} });
    const one = await send(`GET /v2/o/ref/referrers/${digest}?artifactType=application/sbom`);
    expect(one.headers.get("oci-filters-applied")).toBe("artifactType");
    expect(JSON.parse(one.text)).toMatchObject({
      schemaVersion: 2,
      manifests: [{ artifactType: "application/sbom", annotations: { of: "application/sbom" } }],
    });
    const none = await send(`GET /v2/o/ref/referrers/${missing}`);
    expect([none.status, JSON.parse(none.text)]).toMatchObject([200, { manifests: [] }]);
  });

  test("a subject that is not there yet may be named", async () => {
    const image = imageOf("early", {
      subject: { mediaType: types.manifest, digest: missing, size: 7 },
    });
    const pushed = await pushImage(send, { repository: "o/early", tag: "v" }, image);
    expect([pushed.status, pushed.headers.get("oci-subject")]).toEqual([201, missing]);
    expect((await send(`GET /v2/o/early/referrers/${missing}`)).text).toContain(
      image.manifest.digest,
    );
  });

  test("manifests that no client should send are refused by name", async () => {
    const image = imageOf("refused here");
    await pushBlob(send, "o/no", image.config);
    await pushBlob(send, "o/no", image.layer);
    const good = JSON.parse(new TextDecoder().decode(image.manifest.bytes)) as object;
    const rows: readonly (readonly [string, string | Uint8Array, string, number])[] = [
      ["empty", "{}", types.manifest, 400],
      ["schema 1", "{}", "application/vnd.docker.distribution.manifest.v1+json", 400],
      ["unknown kind", "{}", "text/plain", 400],
      ["another kind", image.manifest.bytes, types.dockerManifest, 400],
      ["index as manifest", image.manifest.bytes, types.index, 400],
      ["both at once", JSON.stringify({ ...good, manifests: [] }), types.manifest, 400],
      [
        "wrong size",
        JSON.stringify({
          ...good,
          layers: [{ mediaType: types.layer, digest: image.layer.digest, size: 1 }],
        }),
        types.manifest,
        400,
      ],
      ["too large", new Uint8Array(4 * 1024 * 1024 + 1), types.manifest, 413],
    ];
    for (const [name, body, mediaType, status] of rows) {
      const answer = await put("o/no/manifests/x", body, mediaType);
      expect([name, answer.status, answer.codes]).toEqual([name, status, ["MANIFEST_INVALID"]]);
    }
    const sparse = JSON.stringify({
      schemaVersion: 2,
      mediaType: types.index,
      manifests: [{ mediaType: types.manifest, digest: missing, size: 1 }],
    });
    const answer = await put("o/no/manifests/x", sparse, types.index);
    expect([answer.status, answer.codes]).toEqual([400, ["MANIFEST_BLOB_UNKNOWN"]]);
  });

  test("a manifest by sha512, and one of foreign layers", async () => {
    const image = imageOf("odd", {
      layers: [
        {
          mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
          digest: missing,
          size: 3,
          urls: ["https://elsewhere.example/layer"],
        },
      ],
    });
    await pushBlob(send, "o/odd", image.config);
    const hex = new Bun.CryptoHasher("sha512").update(image.manifest.bytes).digest("hex");
    const pushed = await put(`o/odd/manifests/sha512:${hex}`, image.manifest.bytes);
    expect([pushed.status, pushed.headers.get("docker-content-digest")]).toEqual([
      ...[201, `sha512:${hex}`],
    ]);
    const got = await send(`GET /v2/o/odd/manifests/sha512:${hex}`);
    expect(Buffer.from(got.bytes)).toEqual(Buffer.from(image.manifest.bytes));
  });

  test("names and paths that are none are refused", async () => {
    for (const [line, status, codes] of [
      ["GET /v2/UPPER/tags/list", 400, ["NAME_INVALID"]],
      ["GET /v2/a..b/tags/list", 400, ["NAME_INVALID"]],
      ["GET /v2/-a/tags/list", 400, ["NAME_INVALID"]],
      [`GET /v2/${"a".repeat(256)}/tags/list`, 400, ["NAME_INVALID"]],
      ["GET /v2/a/manifests/.x", 404, ["MANIFEST_UNKNOWN"]],
      ["DELETE /v2/a/manifests/.x", 404, ["MANIFEST_UNKNOWN"]],
      ["PUT /v2/a/manifests/.x", 400, ["TAG_INVALID"]],
      ["GET /v2/a/manifests/sha256:0", 400, ["DIGEST_INVALID"]],
      ["GET /v2/a/blobs/md5:0", 400, ["DIGEST_INVALID"]],
      ["GET /v2/a/blobs/uploads/..%2f..%2fx", 404, ["UNSUPPORTED"]],
      ["GET /v2/a/blobs/uploads/zz", 404, ["BLOB_UPLOAD_UNKNOWN"]],
      ["GET /v2/a/nothing", 404, ["UNSUPPORTED"]],
      ["POST /v2/a/tags/list", 405, ["UNSUPPORTED"]],
      ["GET /v3/", 404, ["UNSUPPORTED"]],
    ] as const) {
      const answer = await send(line);
      expect([line, answer.status, answer.codes]).toEqual([line, status, [...codes]]);
    }
  });

  test("an upload is good in its own repository alone", async () => {
    const begun = await send("POST /v2/o/mine/blobs/uploads/");
    const stolen = begun.location.replace("/o/mine/", "/o/yours/");
    expect((await send(`GET ${stolen}`)).codes).toEqual(["BLOB_UPLOAD_UNKNOWN"]);
  });
});
