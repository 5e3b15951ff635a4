import { expect, it } from 'vitest'
import { limitOptions } from './resource-limits.ts'

const OWN = `Limit                     Soft Limit           Hard Limit           Units
Max file size             unlimited            unlimited            bytes
Max core file size        0                    unlimited            bytes
Max processes             500                  1000                 processes
Max open files            256                  100000               files
`

it('asks for what is wanted, but never for more than this process may have', () => {
  expect(limitOptions({}, OWN)).toEqual([
    '--core=0',
    '--nofile=1024',
    `--fsize=${16 * 1024 ** 3}`,
    '--nproc=1000',
  ])
  expect(limitOptions({ openFiles: 10, fileBytes: 20, processes: 30 }, '')).toEqual([
    '--core=0',
    '--nofile=10',
    '--fsize=20',
    '--nproc=30',
  ])
})
