/** What a test of a guarded program imports: it runs in virtual time, as Seawall's own tests do. Each name is a module. */
export * as LogCapture from "./LogCapture.ts"
export * as ScriptedCheckpointer from "./ScriptedCheckpointer.ts"
export * as TemporaryDatabase from "./TemporaryDatabase.ts"
