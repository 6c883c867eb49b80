/** What an option of a layer may be: anything else is refused, typed, with its name and its value, before anything starts. */
import { Duration, Effect, Option, Runtime, Schema } from "effect"

/** A setting that no program can mean. Exit code 78 (EX_CONFIG). */
export class OptionError extends Schema.TaggedError<OptionError>()("OptionError", {
  /** Its name, as the layer has it. */
  option: Schema.String,
  expected: Schema.String,
  got: Schema.String,
}) {
  override readonly [Runtime.errorExitCode] = 78
  override get message() {
    return `expected ${this.option} to be ${this.expected}, got ${this.got}`
  }
}

/** How much of a value is shown, in characters. */
const mostShown = 200

const show = (value: unknown) => (typeof value === "string" ? JSON.stringify(value) : String(value)).slice(0, mostShown)

/** @internal */
export const refuse = (option: string, expected: string, got: unknown) =>
  Effect.fail(new OptionError({ option, expected, got: show(got) }))

/** Shorter than this a loop does nothing else than to go round. */
const shortest = Duration.millis(1)

/** Effect takes NaN for no time at all. */
const durationOf = (input: Duration.Input) => (Number.isNaN(input) ? Option.none() : Duration.fromInput(input))

/** A time: zero, or so long as makes sense; it may be infinite. @internal */
export const time = (option: string, input: Duration.Input): Effect.Effect<Duration.Duration, OptionError> => {
  const given = durationOf(input)
  return Option.isSome(given) && Duration.isGreaterThanOrEqualTo(given.value, Duration.zero)
    ? Effect.succeed(given.value)
    : refuse(option, 'a duration such as "10 seconds"', input)
}

/** The pause of a loop: less than zero counts as zero, and what is between zero and a millisecond would be a busy loop. @internal */
export const interval = (option: string, input: Duration.Input): Effect.Effect<Duration.Duration, OptionError> => {
  const given = Option.map(durationOf(input), Duration.max(Duration.zero))
  // Less than a nanosecond rounds to zero, which would turn off what was meant to be fast.
  const isLost = typeof input === "number" && input > 0 && Option.exists(given, Duration.isZero)
  return Option.isSome(given) &&
    !isLost &&
    (Duration.isZero(given.value) || Duration.isGreaterThanOrEqualTo(given.value, shortest))
    ? Effect.succeed(given.value)
    : refuse(option, 'a duration of at least 1 ms, such as "10 seconds", or 0', input)
}

/** A whole number. @internal */
export const count = (option: string, input: number, atLeast = 0): Effect.Effect<number, OptionError> =>
  Number.isSafeInteger(input) && input >= atLeast
    ? Effect.succeed(input)
    : refuse(option, `a whole number of at least ${atLeast}`, input)

/** How many times as much: above zero, and infinite where that makes sense. @internal */
export const factor = (option: string, input: number): Effect.Effect<number, OptionError> =>
  input > 0 ? Effect.succeed(input) : refuse(option, "a number above 0", input)

/** Not empty, as a variable that is not set would be. @internal */
export const name = (option: string, input: string): Effect.Effect<string, OptionError> =>
  input.trim() === "" ? refuse(option, "a name or an address, not empty", input) : Effect.succeed(input)

/** A port of TCP; 0 = any that is free. @internal */
export const port = (option: string, input: number): Effect.Effect<number, OptionError> =>
  Number.isSafeInteger(input) && input >= 0 && input <= 65_535
    ? Effect.succeed(input)
    : refuse(option, "a port from 0 to 65535", input)
