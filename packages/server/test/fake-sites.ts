import type { Cell, ReplyMessage, RequestOptions } from '@hanse/cellnet'
import type { Clock } from '@hanse/contract'
import type { FobsValue } from '@hanse/fobs'
import { AdminMessage, COMMAND, COMMAND_HEADER, Shareable } from '@hanse/session'
import type { SiteRecord } from '../src/sites/site-registry.ts'

/** What a site answers to one command: a body, a refusal, or nothing before the time is over. */
export type Answer = { readonly body: FobsValue } | { readonly refusal: string } | 'silence'

/** A cell whose other ends are sites that answer as a test says; by itself every site agrees to everything. */
export class FakeSites {
  /** `site topic` of every command, in the order in which they were given. */
  readonly commands: string[] = []
  readonly messages: { readonly site: string; readonly message: AdminMessage }[] = []
  readonly #clock: Clock
  readonly #answers = new Map<string, Answer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  answer(site: string, topic: string, answer: Answer): void {
    this.#answers.set(`${site} ${topic}`, answer)
  }

  /** Commands to one site. */
  commandsTo(site: string): readonly string[] {
    return this.commands.flatMap((command) =>
      command.startsWith(`${site} `) ? [command.slice(site.length + 1)] : [],
    )
  }

  readonly cell = {
    request: (target: string, _channel: string, _topic: string, body: unknown, options = {}) =>
      this.#request(target, body as AdminMessage, options),
  } as unknown as Cell

  async #request(
    site: string,
    message: AdminMessage,
    { signal, timeoutMs = 0 }: RequestOptions,
  ): Promise<ReplyMessage> {
    signal?.throwIfAborted()
    this.commands.push(`${site} ${message.topic}`)
    this.messages.push({ site, message })
    const answer = this.#answers.get(`${site} ${message.topic}`) ?? agreement(message.topic, site)
    const reply = { headers: new Map(), origin: site }
    if (answer === 'silence') {
      await new Promise<void>((resolve, reject) => {
        this.#clock.setTimer(timeoutMs, resolve)
        signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
      })
      return { ...reply, returnCode: 'timeout', body: null }
    }
    const [code, text] = 'body' in answer ? ['_ok', answer.body] : ['_error', answer.refusal]
    const headers = new Map([[COMMAND_HEADER.returnCode, code as string]])
    return { ...reply, returnCode: 'ok', body: new AdminMessage('reply', text ?? '', headers) }
  }
}

/** The answer to a resource check. */
export function resources(isEnough: boolean, text: string): Answer {
  return {
    body: new Shareable(
      new Map<string, FobsValue>([
        ['_is_resource_enough', isEnough],
        [COMMAND_HEADER.reservation, text],
      ]),
    ),
  }
}

function agreement(topic: string, site: string): Answer {
  return topic === COMMAND.checkResource
    ? resources(true, `reservation of ${site}`)
    : { body: 'done' }
}

export function siteRecord(name: string, more: Partial<SiteRecord> = {}): SiteRecord {
  return {
    name,
    cell: name,
    claims: {
      kind: 'site',
      name,
      cell: name,
      fingerprint: '',
      issuedAt: 0,
      nonce: name,
      proven: false,
    },
    organization: 'org',
    software: 'test',
    siteConfig: '',
    registeredAt: 0,
    lastHeartbeat: 0,
    connected: true,
    ...more,
  }
}
