/** How a process under proof says what it did: at once, whatever becomes of it next. */
import { Effect } from "effect"
import * as fs from "node:fs"

const patience = new Int32Array(new SharedArrayBuffer(4))

/** Synchronous, so that nothing is said late; waits while no process reads. */
const speak = (line: string): void => {
  try {
    fs.writeSync(1, line)
  } catch (error) {
    if (!(error instanceof Error) || !error.message.startsWith("EAGAIN")) throw error
    Atomics.wait(patience, 0, 0, 1)
    speak(line)
  }
}
export const say = (words: string) => Effect.sync(() => speak(`${words}\n`))
