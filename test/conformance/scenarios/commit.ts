/** What containers wrote: as a list, an image, an archive; and what it takes on the disk. */
import { readTarFiles } from "../../../src/lib/tar/tar-entries.ts";
import { at, listAt, textAt } from "../../support/json.ts";
import { image, type Scenario, type Talk } from "../talk.ts";

const script =
  "rm -rf /home; mkdir /home; echo new >/home/x; rm /bin/true; chmod 700 /root; mkdir -p /a/b; " +
  "mkfifo /a/f; ln -s b /a/l; echo 1 >/etc/group; ln /a/l /a/m 2>/dev/null; touch /etc/hosts";

async function ran(talk: Talk, name: string, command: string): Promise<string> {
  const id = await talk.run(name, { Cmd: ["sh", "-c", command], Env: ["A=1"], WorkingDir: "/tmp" });
  await talk.reaches(name, "exited");
  return id;
}

/** The changes by path: Docker's order is that of its walk. */
async function noteChanges(talk: Talk, label: string, name: string): Promise<void> {
  const answer = await talk.api("GET", `/containers/${name}/changes`);
  const changes = listAt(answer.json).toSorted((left, right) =>
    textAt(left, "Path").localeCompare(textAt(right, "Path")),
  );
  talk.note(label, changes);
}

/** What is in an archive, with owner and mode. */
async function noteArchive(talk: Talk, label: string, bytes: Uint8Array): Promise<void> {
  const entries: string[] = [];
  await readTarFiles(new Response(bytes).body ?? [], {
    select: (header) => {
      const { name, type, mode, uid, gid, linkName } = header;
      entries.push(`${type} ${name} ${mode.toString(8)} ${uid}:${gid} ${linkName}`);
      return false;
    },
    limits: { sizeMaxBytes: 1e9, fileMaxBytes: 1e9 },
  });
  talk.note(label, entries.filter((line) => !/ (dev|etc\/mtab|\.dockerenv)/.test(line)).toSorted());
}

export const commitScenarios: readonly Scenario[] = [
  {
    name: "changes",
    async run(talk) {
      await talk.create("cf-new");
      await talk.ask("of a new one", "GET /containers/cf-new/changes");
      await ran(talk, "cf-wrote", script);
      await noteChanges(talk, "of one that wrote", "cf-wrote");
      await talk.run("cf-live", { Cmd: ["sh", "-c", "touch /x; exec sleep 100"] });
      await Bun.sleep(500);
      await noteChanges(talk, "of a running one", "cf-live");
      await talk.ask("of none", "GET /containers/cf-none/changes");
    },
  },
  {
    name: "export",
    async run(talk) {
      await ran(talk, "cf-wrote", script);
      const answer = await talk.ask("stopped", "GET /containers/cf-wrote/export", {
        read: "status",
      });
      await noteArchive(talk, "its files", answer.bytes);
      await talk.ask("none", "GET /containers/cf-none/export");
    },
  },
  {
    name: "commit",
    async run(talk) {
      await ran(talk, "cf-wrote", script);
      const post = async (label: string, query: string, body?: unknown): Promise<void> => {
        const answer = await talk.ask(label, `POST /commit?container=cf-wrote${query}`, {
          body,
        });
        if (answer.status !== 201) return;
        const id = textAt(answer.json, "Id");
        await talk.ask(`${label}: image`, `GET /images/${id}/json`);
        await talk.ask(`${label}: history`, `GET /images/${id}/history`);
      };
      await post("plain", "");
      await post("named", "&repo=cf-made&tag=v1&author=me&comment=hello%20there");
      await post("without a pause", "&repo=cf-made&pause=0");
      const changes: Readonly<Record<string, string>> = {
        cmd: 'CMD ["a","b"]',
        "cmd in a shell": "CMD a b",
        entrypoint: 'ENTRYPOINT ["/x"]',
        "entrypoint and cmd": 'ENTRYPOINT ["/x"]\nCMD ["y"]',
        env: "ENV A=2 B=3",
        "env old": "ENV A some words",
        expose: "EXPOSE 80 81/udp",
        label: 'LABEL x=y "a b"="c d"',
        user: "USER app",
        volume: "VOLUME /v /w",
        "volume list": 'VOLUME ["/v"]',
        workdir: "WORKDIR sub",
        onbuild: "ONBUILD RUN true",
        healthcheck: "HEALTHCHECK --interval=5s --retries=2 CMD true",
        "healthcheck list": 'HEALTHCHECK CMD ["true"]',
        "no healthcheck": "HEALTHCHECK NONE",
        run: "RUN true",
        odd: "ODD x",
        empty: "CMD",
        "label without value": "LABEL",
        "bad port": "EXPOSE odd",
      };
      for (const [label, change] of Object.entries(changes)) {
        await post(`change ${label}`, `&changes=${encodeURIComponent(change)}`);
      }
      await post("body", "", { Env: ["C=3"], Cmd: ["z"], Labels: { l: "1" } });
      await post("body with entrypoint", "", { Entrypoint: ["/e"] });
      await post("body null", "", null);
      await post("upper case", "&repo=UPPER");
      await post("bad tag", "&repo=cf-made&tag=a%20b");
      await talk.ask("none", "POST /commit?container=cf-none");
      await talk.ask("nothing", "POST /commit");
    },
  },
  {
    name: "images made of images",
    async run(talk) {
      await ran(talk, "cf-one", "echo 1 >/one");
      await talk.api("POST", "/commit?container=cf-one&repo=cf-parent");
      const parent = textAt((await talk.api("GET", "/images/cf-parent/json")).json, "Id");
      const child = await talk.create("cf-two", { Image: "cf-parent" });
      await talk.api("POST", `/commit?container=${child}&repo=cf-child`);
      await talk.ask("child", "GET /images/cf-child/json");
      await talk.ask("history", "GET /images/cf-child/history");
      await talk.ask("remove the parent while in use", `DELETE /images/${parent}`);
      await talk.api("DELETE", `/containers/${child}`);
      await talk.ask("remove the parent", `DELETE /images/${parent}`);
      await talk.ask("force it", `DELETE /images/${parent}?force=1`);
      await talk.ask("untag it", "DELETE /images/cf-parent");
      const filters = encodeURIComponent(JSON.stringify({ label: ["cf-comparison"] }));
      // Docker lists what was made in the same second in any order.
      for (const all of [0, 1]) {
        const answer = await talk.api("GET", `/images/json?all=${all}&filters=${filters}`);
        const names = listAt(answer.json).map((item) => JSON.stringify(at(item, "RepoTags")));
        talk.note(`list all=${all}`, names.toSorted());
      }
      await talk.ask("remove the child without parents", "DELETE /images/cf-child?noprune=1");
      await talk.ask("what is left", `DELETE /images/${parent}`);
    },
  },
  {
    name: "disk usage",
    async run(talk) {
      await talk.run("cf-writes", {
        Cmd: ["sh", "-c", "echo 12345 >/f; echo 1 >/v/f; exec sleep 100"],
        Volumes: { "/v": {} },
      });
      await Bun.sleep(500);
      for (const version of ["1.51", "1.43", "1.41"]) {
        const usage = (await talk.api("GET", `/v${version}/system/df`)).json;
        const own = (list: string, is: RegExp): unknown =>
          listAt(usage, list).filter((item) => is.test(JSON.stringify(item)));
        talk.note(`${version}: kinds`, Object.keys(Object(usage)).toSorted());
        talk.note(`${version}: image`, own("Images", new RegExp(`"${image}:latest"`)));
        talk.note(`${version}: container`, own("Containers", /cf-writes/));
        talk.note(`${version}: has volumes`, typeof at(usage, "Volumes"));
      }
      const kinds = ["container", "image", "volume", "build-cache", "odd", ""];
      for (const type of kinds) {
        const answer = await talk.api("GET", `/system/df?type=${type}`);
        talk.note(
          `type ${type}`,
          Object.entries(Object(answer.json)).map(([name, value]) => [name, value === null]),
        );
      }
    },
  },
];
