/** What a name in a layer begins with that says what is gone. @see OCI image-spec v1.1, layer.md, "Whiteouts" */
export const whiteoutPrefix = ".wh.";
/** Says in a folder that nothing of the layers below shows through. */
export const opaqueMarker = ".wh..wh..opq";
/** Other names that AUFS kept for itself; never content. */
export const whiteoutMetaPrefix = ".wh..wh.";
