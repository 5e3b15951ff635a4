/** Where a component runs. */
export type Side = 'server' | 'client'

/** What components there are; handed in by whoever has them. */
export interface ComponentCatalogue {
  /**
   * @param path as a job names it: a class path, a registered name, or a stock simple name
   * @param isOwnCode it is a Python class that came with the job
   */
  has(path: string, side: Side, isOwnCode: boolean): boolean
}
