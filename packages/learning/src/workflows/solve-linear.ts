/**
 * Solves `matrix · x = right` by elimination with pivots; both are changed on the way.
 * @param matrix `[n, n]` in C order
 * @returns x, in `right`; `undefined` when the matrix is singular or holds what is no number
 */
export function solveLinear(matrix: Float64Array, right: Float64Array): Float64Array | undefined {
  const n = right.length
  for (let column = 0; column < n; column++) {
    let pivot = column
    for (let row = column + 1; row < n; row++)
      if (Math.abs(matrix[row * n + column]!) > Math.abs(matrix[pivot * n + column]!)) pivot = row
    const head = matrix[pivot * n + column]!
    if (!(Math.abs(head) > 0 && Math.abs(head) < Infinity)) return undefined
    if (pivot !== column) swapRows(matrix, right, pivot, column)
    for (let row = column + 1; row < n; row++) {
      const factor = matrix[row * n + column]! / head
      if (factor === 0) continue
      for (let i = column; i < n; i++) matrix[row * n + i]! -= factor * matrix[column * n + i]!
      right[row]! -= factor * right[column]!
    }
  }
  for (let row = n - 1; row >= 0; row--) {
    let rest = right[row]!
    for (let i = row + 1; i < n; i++) rest -= matrix[row * n + i]! * right[i]!
    right[row] = rest / matrix[row * n + row]!
  }
  return right.every(Number.isFinite) ? right : undefined
}

function swapRows(matrix: Float64Array, right: Float64Array, a: number, b: number): void {
  const n = right.length
  const row = matrix.slice(a * n, (a + 1) * n)
  matrix.copyWithin(a * n, b * n, (b + 1) * n)
  matrix.set(row, b * n)
  const value = right[a]!
  right[a] = right[b]!
  right[b] = value
}
