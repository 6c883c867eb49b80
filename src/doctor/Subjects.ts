/**
 * The subjects of the doctor, in the order of the report. The help of `seawall doctor`, docs/command.md, the report and
 * the type `Subject` come from this list.
 */
import { autocheckpoint } from "./subjects/Autocheckpoint.ts"
import { backup } from "./subjects/Backup.ts"
import { diskSpace } from "./subjects/DiskSpace.ts"
import { identity } from "./subjects/Identity.ts"
import { integrity } from "./subjects/Integrity.ts"
import { leftBehind } from "./subjects/LeftBehind.ts"
import { networkFileSystem } from "./subjects/NetworkFileSystem.ts"
import { openElsewhere } from "./subjects/OpenElsewhere.ts"
import { openSession } from "./subjects/OpenSession.ts"
import { pinnedWal } from "./subjects/PinnedWal.ts"
import { sqliteVersion } from "./subjects/SqliteVersion.ts"
import { wal } from "./subjects/Wal.ts"
import { walOff } from "./subjects/WalOff.ts"
import { walSize } from "./subjects/WalSize.ts"

export const subjects = [
  integrity,
  identity,
  wal,
  leftBehind,
  networkFileSystem,
  openElsewhere,
  pinnedWal,
  sqliteVersion,
  walOff,
  autocheckpoint,
  walSize,
  diskSpace,
  openSession,
  backup,
]

/** All subjects, as one sentence. */
export const sentence = `Examined: ${subjects.map(({ description }) => description).join("; ")}.`
