import { describe, expect, it } from 'vitest'
import { explainTrainerExit } from './explain-trainer-exit.ts'

const exit = (...errorTail: string[]) => explainTrainerExit({ code: 1, signal: null, errorTail })

describe('explainTrainerExit', () => {
  it("names an exception of Python's own, never what it says", () => {
    const traceback = [
      'Traceback (most recent call last):',
      '  File "/app/custom/train.py", line 3',
    ]
    expect(exit(...traceback, 'ValueError: patient 17')).toBe(
      'exit code 1: its script raised ValueError',
    )
    expect(exit(...traceback, 'AssertionError')).toContain('its script raised AssertionError')
    expect(exit(...traceback, 'Patient17Error: x')).toBe('exit code 1')
    expect(exit(...traceback, 'patient.ValueError: x')).toBe('exit code 1')
  })

  it('prefers what says more', () => {
    expect(exit("ModuleNotFoundError: No module named 'nvflare'")).toContain(
      'a module that it imports is not there',
    )
  })
})
