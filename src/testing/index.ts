/** What a test of a guarded program imports: an engine is tried in virtual time as Seawall's own is. */
export { type Entry, events, LogCapture, logged, steps } from "./LogCapture.ts"
export { type Moment, Recording, type Scene, type Script, scripted } from "./ScriptedCheckpointer.ts"
export { quickDisk, temporaryDatabase, temporaryFile, temporaryFolder } from "./TemporaryDatabase.ts"
