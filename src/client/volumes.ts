/** Operations on volumes. */
import type {
  Volume,
  VolumeCreateRequest,
  VolumeListResponse,
  VolumePruneResponse,
} from "../api/volume.ts";
import { encodeFilters, pathSegment, type Transport } from "./transport.ts";

type FilterMap = ReadonlyMap<string, readonly string[]>;

/** @see Engine API v1.51, VolumeList */
export function listVolumes(
  transport: Transport,
  filters: FilterMap = new Map(),
): Promise<VolumeListResponse> {
  return transport.json("GET /volumes", { query: { filters: encodeFilters(filters) } });
}

/** @see Engine API v1.51, VolumeCreate */
export function createVolume(transport: Transport, request: VolumeCreateRequest): Promise<Volume> {
  return transport.json("POST /volumes/create", { body: request });
}

/** @see Engine API v1.51, VolumeDelete */
export async function removeVolume(
  transport: Transport,
  name: string,
  options: { readonly force?: boolean } = {},
): Promise<void> {
  await transport.send(`DELETE /volumes/${pathSegment(name)}`, { query: { ...options } });
}

/** @see Engine API v1.51, VolumePrune */
export function pruneVolumes(
  transport: Transport,
  filters: FilterMap,
): Promise<VolumePruneResponse> {
  return transport.json("POST /volumes/prune", { query: { filters: encodeFilters(filters) } });
}
