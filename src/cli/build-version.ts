import packageJson from "../../package.json" with { type: "json" };

/** Version of this program. */
export const tugVersion: string = packageJson.version;
