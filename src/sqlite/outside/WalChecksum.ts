/**
 * The checksum of the write-ahead log and of its index: two sums over pairs of 32-bit words, each frame's from where the
 * last one ended. The WAL's magic number says in which byte order the words are read; the sums are stored big-endian.
 * https://www.sqlite.org/fileformat2.html#checksum_algorithm
 */
import * as os from "node:os"

export const isNativeBigEndian = os.endianness() === "BE"

export interface WalChecksum {
  /** Adds the words `from` (included) to `to` (not included): an even number of them. */
  readonly add: (words: Int32Array, from: number, to: number) => void
  /** Goes on from sums that were stored. */
  readonly set: (first: number, second: number) => void
  /** The sums, as signed words. */
  readonly equals: (first: number, second: number) => boolean
}

const swap = (word: number) => (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24)

/** Starts at zero. */
export const make = (isBigEndian: boolean): WalChecksum => {
  let first = 0
  let second = 0
  const native = (words: Int32Array, from: number, to: number) => {
    let a = first
    let b = second
    for (let at = from; at < to; at += 2) {
      a = (a + words[at]! + b) | 0
      b = (b + words[at + 1]! + a) | 0
    }
    first = a
    second = b
  }
  const swapped = (words: Int32Array, from: number, to: number) => {
    let a = first
    let b = second
    for (let at = from; at < to; at += 2) {
      a = (a + swap(words[at]!) + b) | 0
      b = (b + swap(words[at + 1]!) + a) | 0
    }
    first = a
    second = b
  }
  return {
    add: isBigEndian === isNativeBigEndian ? native : swapped,
    set: (a, b) => {
      first = a
      second = b
    },
    equals: (a, b) => first === a && second === b,
  }
}
