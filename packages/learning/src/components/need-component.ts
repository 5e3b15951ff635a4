import { LearningError } from '../learning-error.ts'
import type { RunContext } from './run-context.ts'

/**
 * The component that a workflow names by its id.
 * @param what for the message, e.g. `persistor`
 * @throws {LearningError} `ERR_COMPONENT_MISSING` when the job has none, or something else under that id
 */
export function needComponent<Component>(
  context: Pick<RunContext, 'component'>,
  id: string,
  fits: (component: unknown) => component is Component,
  what: string,
): Component {
  const component = context.component(id)
  if (fits(component)) return component
  throw new LearningError(
    'ERR_COMPONENT_MISSING',
    component === undefined ? `the job has no ${what} "${id}"` : `component "${id}" is no ${what}`,
    { component: id },
  )
}
