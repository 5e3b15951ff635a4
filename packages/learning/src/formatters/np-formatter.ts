import type { Formatter, ValidationResults } from '../components/contracts.ts'
import { jsonOfValue } from '../model/json-of-value.ts'

/** Results of an evaluation on one line, as JSON. */
export class NpFormatter implements Formatter {
  format(results: ValidationResults): string {
    return JSON.stringify(jsonOfValue(new Map(results)))
  }
}
