/** How volumes are listed. */
import type { Volume } from "../../api/volume.ts";
import { formatSize } from "../../lib/size.ts";
import { labelPairs } from "../container/listing.ts";
import type { Listing } from "../format/listing.ts";

/** The columns of `volume ls`. */
export const volumeListing: Listing<Volume> = {
  typeName: "volumeContext",
  quiet: "Name",
  columns: ["Driver", "Name"],
  headers: {
    Name: "VOLUME NAME",
    Driver: "DRIVER",
    Scope: "SCOPE",
    Mountpoint: "MOUNTPOINT",
    Labels: "LABELS",
    Links: "LINKS",
    Size: "SIZE",
    Availability: "AVAILABILITY",
    Group: "GROUP",
    Status: "STATUS",
  },
  jsonFields: [
    ...["Availability", "Driver", "Group", "Labels", "Links", "Mountpoint", "Name", "Scope"],
    ...["Size", "Status"],
  ],
  fields: {
    Name: (volume) => volume.Name,
    Driver: (volume) => volume.Driver,
    Scope: (volume) => volume.Scope,
    Mountpoint: (volume) => volume.Mountpoint,
    Labels: (volume) => labelPairs(volume.Labels),
    Label: (volume) => (name: string) => volume.Labels?.[name] ?? "",
    Links: (volume) => (volume.UsageData === undefined ? "N/A" : String(volume.UsageData.RefCount)),
    Size: (volume) => (volume.UsageData === undefined ? "N/A" : formatSize(volume.UsageData.Size)),
    Availability: () => "N/A",
    Group: () => "N/A",
    Status: () => "N/A",
  },
};
