/**
 * How a command that looks does it once, or over and over until Ctrl+C: it draws over what was there on a terminal, and prints a block, or
 * an object a line, into a pipe.
 */
import { Console, DateTime, Duration, Effect, Layer, Option, Ref, Schema } from "effect"
import * as Halt from "../engine/Halt.ts"
import * as Signals from "../engine/Signals.ts"
import * as ExitCode from "./ExitCode.ts"
import * as OneShot from "./OneShot.ts"
import * as Terminal from "./Terminal.ts"

/** What a look found, beside what it has printed. */
export interface Look<Seen> {
  /** For eyes. */
  readonly text: Option.Option<string>
  /** What could not be looked at, as the JSON names it, and why. */
  readonly failed: ReadonlyArray<readonly [of: Readonly<Record<string, string>>, error: Error]>
  /** For the next look; none when nothing could be looked at. */
  readonly seen: Option.Option<Seen>
}

interface LookOptions<Seen, E, R> {
  /** Its name, for messages. */
  readonly command: string
  /** One look, after an earlier one. */
  readonly look: (before: Option.Option<Seen>) => Effect.Effect<Look<Seen>, E, R>
  readonly json: boolean
  readonly intervalSeconds: number
}

const refuseAll = (command: string, failed: Look<unknown>["failed"]) =>
  Effect.map(
    Effect.forEach(failed, ([, error]) => OneShot.refuse(command, error)),
    ExitCode.worst,
  )

/** Looks once; a failure is said on standard error. */
export const once = Effect.fnUntraced(function* <Seen, E, R>({ command, look }: LookOptions<Seen, E, R>) {
  const { failed, text } = yield* look(Option.none())
  if (Option.isSome(text)) yield* Console.log(text.value)
  return yield* refuseAll(command, failed)
})

const Failure = Schema.fromJsonString(Schema.Record(Schema.String, Schema.String))

/** Draws over what was there, line by line, so that nothing flickers; then takes away what was longer. */
const redraw = (text: string) =>
  Effect.sync(() => {
    const lines = Terminal.cutText(text, process.stdout).replaceAll("\n", "\x1b[K\n")
    process.stdout.write(`\x1b[H${lines}\x1b[K\n\x1b[J`)
  })

const clearScreen = Effect.sync(() => process.stdout.write("\x1b[2J"))

/** The reader of the output, such as `head`, has gone. */
const readerGone = Effect.callback<void>((resume) => {
  const end = () => resume(Effect.void)
  process.stdout.on("error", end)
  return Effect.sync(() => process.stdout.off("error", end))
})

/** Ctrl+C, its relatives, or that. The first one counts. */
const ended = Effect.raceFirst(Effect.asVoid(Halt.Halt.use(({ awaitRequest }) => awaitRequest)), readerGone).pipe(
  Effect.provide(Layer.provideMerge(Signals.layer, Halt.layer)),
)

/** What cannot be looked at at first is mistyped; what goes away later may come back. */
const looking = Effect.fnUntraced(function* <Seen, E, R>({
  command,
  intervalSeconds,
  json,
  look,
}: LookOptions<Seen, E, R>) {
  const isDrawn = process.stdout.isTTY && !json
  const print = (text: string) => (isDrawn ? redraw(text) : Console.log(`${text}\n`))
  const before = yield* Ref.make(Option.none<Seen>())
  const tell = Effect.fnUntraced(function* ({ failed, seen, text }: Look<Seen>) {
    yield* Ref.update(before, (last) => Option.orElse(seen, () => last))
    if (!json) return yield* print([...Option.toArray(text), ...failed.map(([, it]) => it.message)].join("\n"))
    const looked_at = DateTime.formatIso(yield* DateTime.now)
    for (const [of, { message: error }] of failed) {
      yield* Console.log(yield* Effect.orDie(Schema.encodeEffect(Failure)({ ...of, looked_at, error })))
    }
  })
  const first = yield* look(Option.none())
  if (Option.isNone(first.seen)) return yield* refuseAll(command, first.failed)
  if (isDrawn) yield* clearScreen
  yield* tell(first)
  const again = Effect.flatMap(Effect.flatMap(Ref.get(before), look), tell)
  return yield* Effect.forever(Effect.andThen(Effect.sleep(Duration.seconds(intervalSeconds)), again))
})

/** Looks again and again, from the end of one look the interval to the next, until Ctrl+C. */
export const watch = <Seen, E, R>(options: LookOptions<Seen, E, R>) =>
  Effect.raceFirst(Effect.as(ended, ExitCode.ended), looking(options))
