import { apiVersionMax, apiVersionMin } from "../api/versions.ts";
import type { SystemVersion } from "../api/system.ts";
import { hostInfo } from "../sys/host.ts";
import packageJson from "../../package.json" with { type: "json" };

/** Version of this program. */
export const tugVersion: string = packageJson.version;

/** Processor names as the API gives them. */
const architectures: Readonly<Record<string, string>> = { x64: "amd64", arm64: "arm64" };

/** What `GET /version` answers. */
export function systemVersion(): SystemVersion {
  const host = hostInfo();
  const arch = architectures[process.arch] ?? process.arch;
  return {
    Platform: { Name: "Tug" },
    Components: [
      {
        Name: "Engine",
        Version: tugVersion,
        Details: {
          ApiVersion: apiVersionMax,
          Arch: arch,
          Experimental: "false",
          GitCommit: "",
          GoVersion: "",
          KernelVersion: host.kernelVersion,
          MinAPIVersion: apiVersionMin,
          Os: "linux",
          Runtime: `bun ${process.versions["bun"] ?? ""}`,
        },
      },
    ],
    Version: tugVersion,
    ApiVersion: apiVersionMax,
    MinAPIVersion: apiVersionMin,
    GitCommit: "",
    GoVersion: "",
    Os: "linux",
    Arch: arch,
    KernelVersion: host.kernelVersion,
  };
}
