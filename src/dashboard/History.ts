/**
 * How a few figures of each database went: one sample a second for two hours, in memory.
 *
 * A ring of numbers each, so that the whole is 8.6 MB at most, however many databases there are: beyond a hundred of them,
 * what is remembered gets shorter. Checkpoints are not kept here; the guard remembers its last 512 itself.
 */

/** Two hours, one a second. */
const mostSamples = 7200

/** Bound for all databases together. */
const mostSamplesInAll = 720_000

export interface Sample {
  readonly log_frames: number | null
  readonly backlog_frames: number | null
  readonly exposure_seconds: number | null
}

/** Columns of equal length, oldest first. */
export interface Samples {
  readonly at_seconds: ReadonlyArray<number>
  readonly log_frames: ReadonlyArray<number | null>
  readonly backlog_frames: ReadonlyArray<number | null>
  readonly exposure_seconds: ReadonlyArray<number | null>
}

export interface History {
  /** Samples of each database at most. */
  readonly length: number
  /** One sample of each database, in their order; one that is new comes last. Time must not go backwards; a second time in a second replaces the first. */
  readonly add: (atSeconds: number, samples: ReadonlyArray<Sample>) => void
  readonly of: (database: number) => Samples
}

/** Unknown, where every value that is known is 0 or more. */
const unknown = -1

export const make = (databases: number): History => {
  const length = Math.min(mostSamples, Math.floor(mostSamplesInAll / Math.max(1, databases)))
  const times = new Float64Array(length)
  const ring = () => ({
    log: new Int32Array(length).fill(unknown),
    backlog: new Int32Array(length).fill(unknown),
    exposure: new Float32Array(length).fill(unknown),
  })
  const rings = Array.from({ length: databases }, ring)
  let written = 0

  const column = (ring: Float64Array | Float32Array | Int32Array) =>
    written <= length
      ? Array.from(ring.subarray(0, written))
      : [...ring.subarray(written % length), ...ring.subarray(0, written % length)]
  const known = (values: ReadonlyArray<number>) => values.map((value) => (value === unknown ? null : value))

  return {
    length,
    add: (atSeconds, samples) => {
      if (written > 0 && times[(written - 1) % length] === atSeconds) written--
      const at = written % length
      times[at] = atSeconds
      // As many of the later ones as there is room for.
      while (rings.length < samples.length && (rings.length + 1) * length <= mostSamplesInAll) rings.push(ring())
      for (const [index, { backlog, exposure, log }] of rings.entries()) {
        const sample = samples[index]
        log[at] = sample?.log_frames ?? unknown
        backlog[at] = sample?.backlog_frames ?? unknown
        exposure[at] = sample?.exposure_seconds ?? unknown
      }
      written++
    },
    of: (database) => {
      const its = rings[database]
      if (its === undefined) return { at_seconds: [], log_frames: [], backlog_frames: [], exposure_seconds: [] }
      return {
        at_seconds: column(times),
        log_frames: known(column(its.log)),
        backlog_frames: known(column(its.backlog)),
        // Three decimals: a float of four bytes has no more to say.
        exposure_seconds: known(column(its.exposure).map((seconds) => Math.round(seconds * 1000) / 1000)),
      }
    },
  }
}
