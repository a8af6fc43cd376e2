import { openCopySnapshotter } from "./copy-snapshotter.ts";
import { testSnapshotter } from "./snapshotter.suite.ts";

testSnapshotter("copy snapshotter", openCopySnapshotter);
