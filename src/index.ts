/** What an Effect program imports: the layers of a guarded database, and the life cycle of an engine on top of them. */
export { Database, type DatabaseOptions } from "./sqlite/Database.ts"
export * as AdoptedDatabase from "./sqlite/AdoptedDatabase.ts"
export { DatabaseOpenError, OpenReason } from "./sqlite/DatabaseOpenError.ts"
export * as Backup from "./sqlite/copies/Backup.ts"
export { Durability, DurabilityError } from "./sqlite/Durability.ts"
export { Writer } from "./sqlite/Writer.ts"
export { type WriteFailure, WriterError } from "./sqlite/WriterError.ts"
export * as Integrity from "./sqlite/copies/Integrity.ts"
export { NativeReason, nativeReason } from "./sqlite/NativeError.ts"
export { Checkpoint, CheckpointError, CheckpointMode, CheckpointOutcome, type WalFrames } from "./wal/Checkpoint.ts"
export { Checkpointer } from "./wal/Checkpointer.ts"
export { LatencyWindow, type LatencySummary, summarize } from "./wal/LatencyWindow.ts"
export * as GuardedDatabase from "./wal/GuardedDatabase.ts"
export * as ThreadCheckpointer from "./wal/ThreadCheckpointer.ts"
export { UnsafeSqliteError } from "./sqlite/SqliteVersion.ts"
export { WalGuard, type WalGuardOptions } from "./wal/WalGuard.ts"
export {
  type PaperFill,
  type PaperTick,
  Session as SessionRow,
  StateManager,
  type Worth,
} from "./state/StateManager.ts"
export type { Capital, CapitalChange, Deposit } from "./state/Capital.ts"
export {
  CapitalError,
  CapitalEvent,
  type CapitalMovement,
  type ClassifiedWithdrawal,
  classifyWithdrawal,
} from "./state/CapitalEvent.ts"
export type { CapitalWithdrawal } from "./state/CapitalIntents.ts"
export { StateError } from "./state/StateError.ts"
export { Engine, type EngineOptions } from "./engine/Engine.ts"
export * as EngineConfig from "./engine/EngineConfig.ts"
export { EngineProgram, type Figure, goOn, haltWith, type TickResult } from "./engine/EngineProgram.ts"
export { Halt, type HaltRequest } from "./engine/Halt.ts"
export { HaltReason } from "./engine/HaltReason.ts"
export * as Preflight from "./engine/Preflight.ts"
export * as Session from "./engine/Session.ts"
export * as Signals from "./engine/Signals.ts"
export * as Doctor from "./operator/Doctor.ts"
export { Finding, Report } from "./operator/Finding.ts"
export { look, type LookError, OpenHereError } from "./operator/Look.ts"
export { following, type OpenedBy, Status, StatusJson } from "./operator/Status.ts"
export { Dashboard, type DashboardOptions } from "./dashboard/Dashboard.ts"
export { LiveLog } from "./dashboard/LiveLog.ts"
export type { Watched } from "./dashboard/Status.ts"
export * as Shutdown from "./shutdown/Shutdown.ts"
