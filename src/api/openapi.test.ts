/**
 * Compares the routes and the wire types with a published description of the Engine API.
 *
 * The description is not part of the repository: TUG_OPENAPI names a copy of moby's
 * `docs/api/v1.51.yaml`. Without it these tests are skipped. Types are read from the source text,
 * which is as regular as the formatter makes it; what is not compared is the type of a field.
 */
import { describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { parse } from "yaml";
import { routes } from "./route-table.ts";

interface Definition {
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Definition>>;
  readonly allOf?: readonly Definition[];
  readonly items?: Definition;
  readonly $ref?: string;
}

interface Description {
  readonly paths: Readonly<Record<string, Readonly<Record<string, { operationId?: string }>>>>;
  readonly definitions: Readonly<Record<string, Definition>>;
}

const descriptionPath = process.env["TUG_OPENAPI"];
if (descriptionPath === undefined) {
  process.stderr.write("skipped: set TUG_OPENAPI to a copy of the Engine API's v1.51.yaml\n");
}

const description = (): Description => parse(readFileSync(descriptionPath ?? "", "utf8"));

/** Operations that moby serves and does not publish. */
const unpublishedRoutes = [
  "BuildCancel",
  "CheckpointCreate",
  "CheckpointDelete",
  "CheckpointList",
  "Grpc",
  "NetworkListSlash",
];

/** Operations that no other engine has. */
const ownRoutes = [
  "DistributionManifest",
  "DistributionPush",
  "DistributionTags",
  "ImageSign",
  "ImageSignatures",
];

/** Published definitions by the name of our type, where the two differ. */
const publishedNames: Readonly<Record<string, string>> = {
  EndpointIpamConfig: "EndpointIPAMConfig",
  HistoryResponseItem: "ImageHistoryResponseItem",
  Ipam: "IPAM",
  IpamConfig: "IPAMConfig",
  JsonMessage: "BuildInfo",
  IdResponse: "IDResponse",
  OciDescriptor: "OCIDescriptor",
  OciPlatform: "OCIPlatform",
};

/** Fields that only one side has, and why. */
const differences: Readonly<Record<string, readonly string[]>> = {
  // of older API versions
  Commit: ["Expected"],
  ImageInspect: ["VirtualSize"],
  SystemInfo: ["KernelMemory", "BridgeNfIptables", "BridgeNfIp6tables", "SystemStatus"],
  // printed or read by Docker, not published
  AuthConfig: ["auth", "identitytoken", "registrytoken"],
  EventMessage: ["status", "id", "from"],
  // KernelMemory is of older versions; Init is published here, but sent with HostConfig
  Resources: ["KernelMemory", "Init"],
  // of the cluster
  Network: ["Peers"],
  SwarmInfo: ["Cluster"],
  Volume: ["ClusterVolume"],
};

interface Field {
  readonly isOptional: boolean;
}

interface WireType {
  readonly parents: readonly string[];
  readonly fields: ReadonlyMap<string, Field>;
}

/** Reads the exported interfaces of this folder's files. */
function readTypes(): ReadonlyMap<string, WireType> {
  const types = new Map<string, WireType>();
  const folder = new URL("./", import.meta.url);
  for (const file of readdirSync(folder)) {
    if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue;
    const source = readFileSync(new URL(file, folder), "utf8");
    const pattern = /^export interface (\w+)(?: extends ([\w, ]+))? \{\n(.*?)^\}/gms;
    for (const [, name = "", parents = "", body = ""] of source.matchAll(pattern)) {
      const fields = new Map<string, Field>();
      for (const [, field = "", mark] of body.matchAll(/^ {2}readonly "?([\w.]+)"?(\?)?:/gm)) {
        fields.set(field, { isOptional: mark === "?" });
      }
      types.set(name, { parents: parents.split(", ").filter((parent) => parent !== ""), fields });
    }
  }
  return types;
}

describe.skipIf(descriptionPath === undefined)("beside the published description", () => {
  test("every published operation is in the table, at its place and under its name", () => {
    const published: string[] = [];
    for (const [path, methods] of Object.entries(description().paths)) {
      for (const [method, operation] of Object.entries(methods)) {
        published.push(`${operation.operationId} ${method.toUpperCase()} ${path}`);
      }
    }
    const ours = routes
      .filter(({ name }) => !unpublishedRoutes.includes(name) && !ownRoutes.includes(name))
      .map((route) => `${route.name} ${route.method} ${route.path}`);
    expect(published.length).toBeGreaterThan(100);
    expect(ours.toSorted()).toEqual(published.toSorted());
  });

  test("every type has the published fields, and no others", () => {
    const { definitions } = description();
    const types = readTypes();
    const problems: string[] = [];
    let compared = 0;
    for (const [name, type] of types) {
      const definition = definitions[publishedNames[name] ?? name];
      if (definition === undefined) continue;
      compared += 1;
      const published = propertiesOf(definition, definitions);
      const fields = fieldsOf(type, types);
      const known = differences[name] ?? [];
      for (const field of new Set([...published.names, ...fields.keys()])) {
        const isOnOneSide = published.names.has(field) !== fields.has(field);
        if (isOnOneSide && !isKnown(field, name, type)) {
          problems.push(`${name}.${field} is only ${fields.has(field) ? "here" : "published"}`);
        }
        if (published.required.has(field) && fields.get(field)?.isOptional === true) {
          problems.push(`${name}.${field} is published as required`);
        }
      }
      for (const field of known) {
        if (published.names.has(field) === fields.has(field)) {
          problems.push(`${name}.${field} is no difference`);
        }
      }
    }
    expect(problems).toEqual([]);
    expect(compared).toBeGreaterThan(45);
  });
});

/** A difference may be listed at the type or at the one that it extends. */
function isKnown(field: string, name: string, type: WireType): boolean {
  return [name, ...type.parents].some((owner) => differences[owner]?.includes(field) === true);
}

function fieldsOf(
  type: WireType,
  types: ReadonlyMap<string, WireType>,
): ReadonlyMap<string, Field> {
  const fields = new Map<string, Field>();
  for (const parent of type.parents) {
    for (const [name, field] of types.get(parent)?.fields ?? []) fields.set(name, field);
  }
  for (const [name, field] of type.fields) fields.set(name, field);
  return fields;
}

function propertiesOf(
  definition: Definition,
  definitions: Description["definitions"],
): { readonly names: Set<string>; readonly required: Set<string> } {
  const names = new Set(Object.keys(definition.properties ?? {}));
  const required = new Set(definition.required ?? []);
  const referred = definition.$ref === undefined ? undefined : definition.$ref.split("/").at(-1);
  const parts = [...(definition.allOf ?? [])];
  if (referred !== undefined) parts.push(definitions[referred] ?? {});
  for (const part of parts) {
    const inner = propertiesOf(part, definitions);
    for (const name of inner.names) names.add(name);
    for (const name of inner.required) required.add(name);
  }
  return { names, required };
}
