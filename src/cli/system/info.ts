import type { SystemInfo } from "../../api/system.ts";
import { engineInfo } from "../../client/system.ts";
import { EngineError } from "../../lib/errors.ts";
import { formatBytesBinary } from "../../lib/size.ts";
import { escapeControls } from "../../lib/terminal-text.ts";
import { tugVersion } from "../build-version.ts";
import { type Command, exactly, type Invocation } from "../command.ts";
import { currentContextName } from "../environment.ts";
import { describeFailure, failureCode } from "../errors.ts";
import { inspectFormatFlag } from "../flag/flags.ts";
import { compileFormat } from "../format/single.ts";

/** Shows what the engine is and holds. */
export const command: Command = {
  usage: "[OPTIONS]",
  operands: exactly(0),
  flags: [inspectFormatFlag],
  run,
};

async function run(invocation: Invocation): Promise<number> {
  const { flags, output, environment } = invocation;
  const format = flags.text("format");
  const context = await currentContextName(environment);
  const client = {
    Version: tugVersion,
    Context: context,
    Debug: environment.flags.isDebug,
    Plugins: [],
    Warnings: null,
  };
  const typeName = "system.dockerInfo";
  const render =
    format === ""
      ? undefined
      : await compileFormat(format, { isTerminal: output.isTerminal, typeName });
  let info: SystemInfo | undefined;
  let failure: unknown;
  try {
    info = await engineInfo(await invocation.engine());
  } catch (error) {
    if (!(error instanceof EngineError)) throw error;
    failure = error;
  }
  if (render !== undefined) {
    const serverErrors = failure === undefined ? {} : { ServerErrors: [describeFailure(failure)] };
    output.out(render({ ...info, ...serverErrors, ClientInfo: client }));
  } else {
    output.out(clientLines(context, environment.flags.isDebug));
    if (info !== undefined) output.out(`Server:\n${serverLines(info).join("\n")}\n\n`);
    for (const warning of info?.Warnings ?? []) output.err(`${escapeControls(warning)}\n`);
  }
  if (failure === undefined) return 0;
  if (render === undefined)
    output.err(`Server:\n${describeFailure(failure)}\nerrors pretty printing info\n`);
  else output.err(`${describeFailure(failure)}\n`);
  return failureCode;
}

function clientLines(context: string, isDebug: boolean): string {
  return `Client:\n Version:    ${tugVersion}\n Context:    ${context}\n Debug Mode: ${isDebug}\n\n`;
}

/** The server's part of the page, line by line. */
export function serverLines(info: SystemInfo): readonly string[] {
  const lines: string[] = [];
  const add = (label: string, value: unknown, depth = 1): void => {
    lines.push(`${" ".repeat(depth)}${label}: ${escapeControls(String(value ?? ""))}`);
  };
  const list = (values: readonly string[] | null | undefined): string => (values ?? []).join(" ");
  add("Containers", info.Containers);
  add("Running", info.ContainersRunning, 2);
  add("Paused", info.ContainersPaused, 2);
  add("Stopped", info.ContainersStopped, 2);
  add("Images", info.Images);
  add("Server Version", info.ServerVersion);
  add("Storage Driver", info.Driver);
  for (const [name, value] of info.DriverStatus ?? []) add(escapeControls(name), value, 2);
  add("Logging Driver", info.LoggingDriver);
  add("Cgroup Driver", info.CgroupDriver);
  add("Cgroup Version", info.CgroupVersion);
  lines.push(" Plugins:");
  add("Volume", list(info.Plugins?.Volume), 2);
  add("Network", list(info.Plugins?.Network), 2);
  if ((info.Plugins?.Authorization ?? []).length > 0)
    add("Authorization", list(info.Plugins.Authorization), 2);
  add("Log", list(info.Plugins?.Log), 2);
  if ((info.CDISpecDirs ?? []).length > 0) {
    lines.push(
      " CDI spec directories:",
      ...info.CDISpecDirs.map((dir) => `  ${escapeControls(dir)}`),
    );
  }
  add("Swarm", info.Swarm?.LocalNodeState || "inactive");
  add(
    "Runtimes",
    Object.keys(info.Runtimes ?? {})
      .sort()
      .join(" "),
  );
  add("Default Runtime", info.DefaultRuntime);
  add("Init Binary", info.InitBinary);
  add("containerd version", info.ContainerdCommit?.ID);
  add("runc version", info.RuncCommit?.ID);
  add("init version", info.InitCommit?.ID);
  addSecurity(lines, info.SecurityOptions ?? []);
  addHost(lines, info);
  return lines;
}

function addSecurity(lines: string[], options: readonly string[]): void {
  if (options.length === 0) return;
  lines.push(" Security Options:");
  for (const option of options) {
    const fields = option.split(",").map((field) => {
      const split = field.indexOf("=");
      return [field.slice(0, Math.max(0, split)), field.slice(split + 1)] as const;
    });
    const name = fields.find(([key]) => key === "name")?.[1] ?? option;
    lines.push(`  ${escapeControls(name)}`);
    for (const [key, value] of fields) {
      if (key === "name" || key === "") continue;
      lines.push(
        `   ${escapeControls(key.charAt(0).toUpperCase() + key.slice(1))}: ${escapeControls(value)}`,
      );
    }
  }
}

function addHost(lines: string[], info: SystemInfo): void {
  const add = (label: string, value: unknown): void => {
    lines.push(` ${label}: ${escapeControls(String(value ?? ""))}`);
  };
  add("Kernel Version", info.KernelVersion);
  add("Operating System", info.OperatingSystem);
  add("OSType", info.OSType);
  add("Architecture", info.Architecture);
  add("CPUs", info.NCPU);
  add("Total Memory", formatBytesBinary(info.MemTotal));
  add("Name", info.Name);
  add("ID", info.ID);
  add("Docker Root Dir", info.DockerRootDir);
  add("Debug Mode", info.Debug);
  if (info.Debug) {
    lines.push(`  File Descriptors: ${info.NFd}`, `  Goroutines: ${info.NGoroutines}`);
    lines.push(`  System Time: ${info.SystemTime}`, `  EventsListeners: ${info.NEventsListener}`);
  }
  if (info.HttpProxy) add("HTTP Proxy", info.HttpProxy);
  if (info.HttpsProxy) add("HTTPS Proxy", info.HttpsProxy);
  if (info.NoProxy) add("No Proxy", info.NoProxy);
  if ((info.Labels ?? []).length > 0) {
    lines.push(" Labels:", ...info.Labels.map((label) => `  ${escapeControls(label)}`));
  }
  add("Experimental", info.ExperimentalBuild);
  const registries = info.RegistryConfig;
  const insecure = [
    ...Object.values(registries?.IndexConfigs ?? {}).flatMap((one) =>
      one.Secure ? [] : [one.Name],
    ),
    ...(registries?.InsecureRegistryCIDRs ?? []),
  ];
  if (insecure.length > 0)
    lines.push(" Insecure Registries:", ...insecure.map((one) => `  ${escapeControls(one)}`));
  if ((registries?.Mirrors ?? []).length > 0) {
    lines.push(
      " Registry Mirrors:",
      ...(registries?.Mirrors ?? []).map((one) => `  ${escapeControls(one)}`),
    );
  }
  add("Live Restore Enabled", info.LiveRestoreEnabled);
  if (info.ProductLicense) add("Product License", info.ProductLicense);
  if ((info.DefaultAddressPools ?? []).length > 0) {
    lines.push(" Default Address Pools:");
    for (const pool of info.DefaultAddressPools ?? [])
      lines.push(`   Base: ${pool.Base}, Size: ${pool.Size}`);
  }
  if (info.FirewallBackend !== undefined) add("Firewall Backend", info.FirewallBackend.Driver);
}
