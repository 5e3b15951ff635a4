import { describeExit, type ProcessExit } from '@hanse/launcher-process'

/**
 * Why a trainer ended, in words that are all ours: what it printed only chooses among them, since a trainer's
 * output must not leave the site, and an error text would carry it out.
 */
export function explainTrainerExit(exit: ProcessExit): string {
  const printed = exit.errorTail.join('\n')
  const cause = CAUSES.find(([pattern]) => pattern.test(printed))?.[1]
  const ended = describeExit(exit)
  return cause === undefined ? ended : `${ended}: ${cause}`
}

const denied = (permission: string): RegExp =>
  new RegExp(`ERR_ACCESS_DENIED'[^]*permission: '${permission}'`)

const CAUSES: readonly (readonly [RegExp, string])[] = [
  [denied('FileSystemRead'), 'it was denied to read a file that the site did not grant'],
  [denied('FileSystemWrite'), 'it was denied to write outside its scratch folder'],
  [denied('Net'), 'it was denied the network, which no trainer has'],
  [denied('Signal'), 'it was denied to signal a process'],
  [denied('Database'), 'it was denied to open a database'],
  [denied('ChildProcess'), 'it was denied to start a process'],
  [denied('WorkerThreads'), 'it was denied to start a worker thread'],
  [
    denied('(Identity|Internals|ForeignFunctions|Addon|WASI|Inspector)'),
    'it was denied an internal of the runtime',
  ],
  [
    /(connect|bind|getaddrinfo|query\w*) ERR_ACCESS_DENIED/,
    'it was denied the network, which no trainer has',
  ],
  [/ERR_DLOPEN_DISABLED/, 'it was denied to load a native addon'],
  [
    /ENETUNREACH|EAI_AGAIN|Network is unreachable|name resolution/,
    'it wanted the network, which no trainer has',
  ],
  [/ERR_ACCESS_DENIED/, 'it was denied something that trainers may not do'],
  [/heap out of memory|MemoryError/, 'it ran out of memory'],
  [
    /ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|ModuleNotFoundError/,
    'a module that it imports is not there',
  ],
  [/EROFS|Read-only file system/, 'it wanted to write outside its scratch folder'],
  [/ENOENT|FileNotFoundError/, 'a file that it wants is not there, or not granted'],
  [/EACCES|EPERM|PermissionError/, 'the system denied it something'],
  [
    /SyntaxError|ERR_INVALID_TYPESCRIPT_SYNTAX|ERR_UNSUPPORTED_TYPESCRIPT_SYNTAX/,
    'its script has a syntax error',
  ],
  // Of Python's own exceptions only: the name of any other is text that the job chose.
  ...[
    ...['ArithmeticError', 'AssertionError', 'AttributeError', 'EOFError', 'FloatingPointError'],
    ...['ImportError', 'IndexError', 'KeyError', 'NameError', 'NotImplementedError', 'OSError'],
    ...['OverflowError', 'RecursionError', 'RuntimeError', 'TimeoutError', 'TypeError'],
    ...['UnboundLocalError', 'UnicodeDecodeError', 'ValueError', 'ZeroDivisionError'],
  ].map((name) => [new RegExp(`^${name}(:|$)`, 'm'), `its script raised ${name}`] as const),
]
