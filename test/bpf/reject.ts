/** What is never answered, and how often answers are given. */
import t from 'tap'
import { counting } from '../fixtures/bytes.js'
import { caseTables, DOWN_VIP, DOWN_VIP6, instance, sent } from '../fixtures/cases.js'
import { CLIENT_MAC } from '../fixtures/tables.js'
import { tcp, udp } from '../fixtures/transport.js'

const dataPlane = await instance(t)
const kinds = { TCP: tcp({ from: 40000, to: 80 }), UDP: udp({ from: 40000, to: 53 }, counting(20)) }

const noHosts: Readonly<Record<string, readonly string[]>> = {
  [DOWN_VIP]: [
    '0.0.0.0',
    '0.1.2.3',
    '127.0.0.1',
    '127.255.255.255',
    '224.0.0.1',
    '239.1.2.3',
    '240.0.0.1',
    '255.255.255.255',
    DOWN_VIP,
  ],
  [DOWN_VIP6]: ['::', '::1', 'ff02::1', 'ff0e::99', 'ffff::', DOWN_VIP6],
}
const hosts: Readonly<Record<string, readonly string[]>> = {
  [DOWN_VIP]: ['1.0.0.1', '126.255.255.255', '128.0.0.1', '223.255.255.255', '10.0.0.1', '169.254.1.1'],
  [DOWN_VIP6]: ['::2', '::1:0:0:0', '::100', 'fe80::1', 'fd00::1', 'feff::1', '64:ff9b::1'],
}

for (const vip of [DOWN_VIP, DOWN_VIP6])
  for (const [kind, transport] of Object.entries(kinds)) {
    t.test(`${kind} to ${vip} from an address of no host gets no answer`, async t => {
      for (const from of noHosts[vip]!) {
        const bytes = sent(vip, transport, { ip: { from } })
        t.match(dataPlane.run(bytes), { action: 'DROP', verdict: 'DROP_NO_BACKEND', packet: bytes }, from)
      }
    })

    t.test(`${kind} to ${vip} from addresses next to those gets an answer`, async t => {
      for (const from of hosts[vip]!)
        t.equal(dataPlane.run(sent(vip, transport, { ip: { from } })).action, 'TX', from)
    })

    t.test(`${kind} to ${vip} from a group’s MAC address gets no answer`, async t => {
      for (const from of [
        'ff:ff:ff:ff:ff:ff',
        '01:00:5e:00:00:01',
        '33:33:00:00:00:01',
        '03:00:00:00:00:01',
      ]) {
        const bytes = sent(vip, transport, { ethernet: { from } })
        t.match(dataPlane.run(bytes), { action: 'DROP', verdict: 'DROP_NO_BACKEND', packet: bytes }, from)
      }
      t.equal(dataPlane.run(sent(vip, transport, { ethernet: { from: CLIENT_MAC } })).action, 'TX')
    })
  }

t.test(
  'a packet of another length in its header than in its frame gets no answer beyond its end',
  async t => {
    const bytes = sent(DOWN_VIP, udp({ from: 40000, to: 53 }, counting(100)), {
      ip: { totalLength: 28 + 10 },
    })
    t.equal(dataPlane.run(bytes).packet.length, 14 + 28 + 28 + 10)
  },
)

t.test('answers above the rate limit are not given, and counted as such', async t => {
  const limited = await instance(t, caseTables, { answersPerSecond: 10 })
  const question = sent(DOWN_VIP, kinds.TCP)
  const answers = limited.runAll(Array.from({ length: 1000 }, () => question))
  const refused = answers.filter(answer => answer.verdict === 'DROP_REJECT_LIMITED')
  t.equal(answers.filter(answer => answer.verdict === 'TX_REJECT_RST').length + refused.length, 1000)
  // one second's worth at once, and a tenth of a second for each one more: a thousand would take a minute and a half
  t.ok(refused.length >= 900, `${1000 - refused.length} of 1000 were answered`)
  t.ok(refused.length <= 990, 'a burst of one second’s worth is answered')
  t.match(refused[0], { action: 'DROP', packet: question, backend: null })
  t.equal(limited.verdictCounts().DROP_REJECT_LIMITED?.packets, refused.length)
})

t.test('packets that get no answer use up none of the rate', async t => {
  const limited = await instance(t, caseTables, { answersPerSecond: 1 })
  const never = sent(DOWN_VIP, kinds.TCP, { ip: { from: '127.0.0.1' } })
  for (const answer of limited.runAll(Array.from({ length: 100 }, () => never)))
    if (answer.verdict !== 'DROP_NO_BACKEND') t.fail(answer.verdict)
  t.equal(limited.run(sent(DOWN_VIP, kinds.TCP)).verdict, 'TX_REJECT_RST')
})

t.test('without a limit every question is answered', async t => {
  const question = sent(DOWN_VIP6, kinds.UDP)
  const answers = dataPlane.runAll(Array.from({ length: 3000 }, () => question))
  t.equal(answers.filter(answer => answer.verdict === 'TX_REJECT_UNREACHABLE').length, 3000)
})
