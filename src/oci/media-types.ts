/** Media types of the OCI image format. @see OCI image-spec v1.1, media-types.md */
export const ociMediaTypes = {
  descriptor: "application/vnd.oci.descriptor.v1+json",
  layoutHeader: "application/vnd.oci.layout.header.v1+json",
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.oci.image.config.v1+json",
  empty: "application/vnd.oci.empty.v1+json",
  layer: "application/vnd.oci.image.layer.v1.tar",
  layerGzip: "application/vnd.oci.image.layer.v1.tar+gzip",
  layerZstd: "application/vnd.oci.image.layer.v1.tar+zstd",
} as const;

/** Media types of Docker's image format. @see distribution, manifest-v2-2.md */
export const dockerMediaTypes = {
  manifestList: "application/vnd.docker.distribution.manifest.list.v2+json",
  manifest: "application/vnd.docker.distribution.manifest.v2+json",
  manifestV1: "application/vnd.docker.distribution.manifest.v1+json",
  signedManifestV1: "application/vnd.docker.distribution.manifest.v1+prettyjws",
  config: "application/vnd.docker.container.image.v1+json",
  pluginConfig: "application/vnd.docker.plugin.v1+json",
  layer: "application/vnd.docker.image.rootfs.diff.tar",
  layerGzip: "application/vnd.docker.image.rootfs.diff.tar.gzip",
  layerZstd: "application/vnd.docker.image.rootfs.diff.tar.zstd",
  foreignLayer: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
} as const;

/** What a client says it takes when it asks for a manifest, best first. */
export const manifestAccept: readonly string[] = [
  ociMediaTypes.index,
  ociMediaTypes.manifest,
  dockerMediaTypes.manifestList,
  dockerMediaTypes.manifest,
];

/** Tells whether it is an index or a manifest list. */
export function isIndexType(mediaType: string): boolean {
  return mediaType === ociMediaTypes.index || mediaType === dockerMediaTypes.manifestList;
}

/** Tells whether it is a manifest of one image. */
export function isManifestType(mediaType: string): boolean {
  return mediaType === ociMediaTypes.manifest || mediaType === dockerMediaTypes.manifest;
}

/** Tells whether it is the config of a runnable image. */
export function isImageConfigType(mediaType: string): boolean {
  return mediaType === ociMediaTypes.config || mediaType === dockerMediaTypes.config;
}

/** Tells whether it is a layer of either format, foreign ones included. */
export function isLayerType(mediaType: string): boolean {
  return layerForm.test(mediaType);
}

/** How a layer of that media type is packed; undefined when it is none that can be unpacked. */
export function layerCompression(mediaType: string): "none" | "gzip" | "zstd" | undefined {
  const match = layerForm.exec(mediaType);
  if (match === null) return undefined;
  const suffix = match[1];
  return suffix === "gzip" || suffix === "zstd" ? suffix : "none";
}

const layerForm =
  /^application\/vnd\.(?:oci\.image\.layer\.(?:nondistributable\.)?v1\.tar|docker\.image\.rootfs\.(?:foreign\.)?diff\.tar)(?:[+.](gzip|zstd))?$/;
