/**
 * One line at the bottom of a terminal that is drawn over and over, below a log that scrolls.
 *
 * Both are written by one hand: a log line first takes the status line away and puts it back after itself, so that
 * neither tears the other. Without a terminal there is no status line, and the log is written as it is.
 */
import { Console, Context, Effect, Layer, Schedule, type Scope } from "effect"
import * as Terminal from "./Terminal.ts"

export class StatusLine extends Context.Service<
  StatusLine,
  {
    /** Draws the line now and then every second, for the life of the scope. */
    readonly show: <R>(line: Effect.Effect<string, never, R>) => Effect.Effect<void, never, R | Scope.Scope>
  }
>()("seawall/cli/StatusLine") {}

/** What the status line needs of a terminal. */
interface Output extends Terminal.Size {
  readonly isTTY?: boolean
  readonly write: (text: string) => unknown
}

const refresh = "1 second"

/** Provides the `Console` that log lines go through, and the line itself. */
export const layer = (terminal: Output): Layer.Layer<StatusLine> =>
  terminal.isTTY === true ? Layer.effectContext(make(terminal)) : Layer.succeed(StatusLine, { show: () => Effect.void })

const make = Effect.fnUntraced(function* (terminal: Output) {
  const outer = yield* Console.Console
  let shown = ""
  /** Takes it away, also when the window became narrower since and wrapped it. */
  const clear = () => {
    const above = Terminal.rowsOf(shown, terminal) - 1
    return above === 0 ? "\r\x1b[2K" : `\r\x1b[${above}A\x1b[J`
  }
  const around =
    (print: (...args: ReadonlyArray<unknown>) => void) =>
    (...args: ReadonlyArray<unknown>) => {
      if (shown !== "") terminal.write(clear())
      print(...args)
      terminal.write(shown)
    }
  const console: Console.Console = {
    ...outer,
    log: around((...args) => outer.log(...args)),
    error: around((...args) => outer.error(...args)),
  }
  const draw = (line: string) =>
    Effect.sync(() => {
      const before = clear()
      shown = Terminal.cut(line, terminal)
      terminal.write(`${before}${shown}`)
    })
  const hide = Effect.sync(() => {
    const before = clear()
    shown = ""
    terminal.write(before)
  })
  const show = Effect.fnUntraced(function* <R>(line: Effect.Effect<string, never, R>) {
    yield* Effect.addFinalizer(() => hide)
    yield* Effect.flatMap(line, draw).pipe(Effect.repeat(Schedule.spaced(refresh)), Effect.forkScoped)
  })
  return Context.make(StatusLine, { show }).pipe(Context.add(Console.Console, console))
})
