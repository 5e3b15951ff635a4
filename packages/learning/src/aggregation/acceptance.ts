/** Whether a contribution counts, and why not. */
export type Acceptance =
  | { readonly accepted: true; readonly weight: number }
  | { readonly accepted: false; readonly reason: string }
