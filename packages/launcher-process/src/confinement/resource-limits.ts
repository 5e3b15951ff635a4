import { readFileSync } from 'node:fs'
import type { TrainerLimits } from './confined-program.ts'

/**
 * Options of util-linux' `prlimit` for a trainer. A limit that this process itself may not exceed wins: asking
 * for more would be refused, and the trainer not start.
 * @param own text of `/proc/self/limits`
 */
export function limitOptions(limits: TrainerLimits = {}, own: string = ownLimits()): string[] {
  const hard = hardLimits(own)
  const wanted: readonly [option: string, name: string, value: number][] = [
    ['core', 'Max core file size', 0],
    ['nofile', 'Max open files', limits.openFiles ?? 1024],
    ['fsize', 'Max file size', limits.fileBytes ?? 16 * 1024 ** 3],
    ['nproc', 'Max processes', limits.processes ?? 4096],
  ]
  return wanted.map(
    ([option, name, value]) => `--${option}=${Math.min(value, hard.get(name) ?? value)}`,
  )
}

function ownLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'utf8')
  } catch {
    return ''
  }
}

/** Lines are `name  soft  hard  unit`, in columns; `unlimited` is left out. */
function hardLimits(text: string): Map<string, number> {
  const limits = new Map<string, number>()
  for (const line of text.split('\n')) {
    const columns = /^(.+?) {2,}(\S+) +(\d+)/.exec(line)
    if (columns !== null) limits.set(columns[1]!, Number(columns[3]))
  }
  return limits
}
