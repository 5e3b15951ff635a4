import type { Fault } from '@hanse/doctor'

/** A fault as people read it, four lines. */
export function faultText({ code, what, seen, expected, fix }: Fault): string {
  return [
    `fault  ${what} (${code})`,
    `       seen:     ${seen}`,
    `       expected: ${expected}`,
    `       to do:    ${fix}`,
  ].join('\n')
}
