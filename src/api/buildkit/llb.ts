/**
 * The parts of BuildKit's low-level build definition that clients and an engine exchange when the
 * engine reads Dockerfiles itself.
 *
 * @see github.com/moby/buildkit, solver/pb/ops.proto
 */
import {
  bytesField,
  bytesListField,
  intField,
  message,
  messageField,
  messageListField,
  messageMapField,
  type MessageType,
  stringField,
  stringListField,
  stringMapField,
  boolField,
} from "../../lib/protobuf.ts";

/** A platform. */
export interface PbPlatform {
  readonly architecture: string;
  readonly os: string;
  readonly variant: string;
  readonly osVersion: string;
  readonly osFeatures: readonly string[];
}

/** Table of `PbPlatform`. */
export const pbPlatformType: MessageType<PbPlatform> = message<PbPlatform>({
  architecture: stringField(1),
  os: stringField(2),
  variant: stringField(3),
  osVersion: stringField(4),
  osFeatures: stringListField(5),
});

/** A definition: its last operation names what is wanted. */
export interface Definition {
  /** Encoded `Op`s. */
  readonly def: readonly Uint8Array[];
  /** By the digest of the operation. A definition without any counts as none. */
  readonly metadata: ReadonlyMap<string, OpMetadata>;
}

/** What is told of an operation; nothing of it is read. */
export type OpMetadata = Readonly<Record<never, never>>;

const opMetadataType: MessageType<OpMetadata> = message<OpMetadata>({});

/** Table of `Definition`. */
export const definitionType: MessageType<Definition> = message<Definition>({
  def: bytesListField(1),
  metadata: messageMapField(2, () => opMetadataType),
});

/** An edge to another operation. */
export interface OpInput {
  /** Digest of the encoded operation. */
  readonly digest: string;
  readonly index: number;
}

const opInputType: MessageType<OpInput> = message<OpInput>({
  digest: stringField(1),
  index: intField(2),
});

/** An operation that gets something: `local://context`, `docker-image://…`. */
export interface SourceOp {
  readonly identifier: string;
  readonly attrs: ReadonlyMap<string, string>;
}

const sourceOpType: MessageType<SourceOp> = message<SourceOp>({
  identifier: stringField(1),
  attrs: stringMapField(2),
});

/** One operation; kinds other than sources are not read. */
export interface Op {
  readonly inputs: readonly OpInput[];
  readonly source: SourceOp | undefined;
  readonly platform: PbPlatform | undefined;
}

/** Table of `Op`. */
export const opType: MessageType<Op> = message<Op>({
  inputs: messageListField(1, () => opInputType),
  source: messageField(3, () => sourceOpType),
  platform: messageField(10, () => pbPlatformType),
});

/** A place in a text: lines from 1. */
export interface Position {
  readonly line: number;
  readonly character: number;
}

const positionType: MessageType<Position> = message<Position>({
  line: intField(1),
  character: intField(2),
});

/** A stretch of a text; both lines belong to it. */
export interface SourceRange {
  readonly start: Position | undefined;
  readonly end: Position | undefined;
}

/** Table of `SourceRange`. */
export const sourceRangeType: MessageType<SourceRange> = message<SourceRange>({
  start: messageField(1, () => positionType),
  end: messageField(2, () => positionType),
});

/** A text that ranges are of. */
export interface SourceInfo {
  readonly filename: string;
  readonly data: Uint8Array;
  readonly language: string;
}

/** Table of `SourceInfo`. */
export const sourceInfoType: MessageType<SourceInfo> = message<SourceInfo>({
  filename: stringField(1),
  data: bytesField(2),
  language: stringField(4),
});

/** A heading under which vertices are shown. */
export interface ProgressGroup {
  readonly id: string;
  readonly name: string;
  readonly weak: boolean;
}

/** Table of `ProgressGroup`. */
export const progressGroupType: MessageType<ProgressGroup> = message<ProgressGroup>({
  id: stringField(1),
  name: stringField(2),
  weak: boolField(3),
});
