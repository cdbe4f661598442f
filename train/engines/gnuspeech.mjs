// Speak English sentences with gnuspeech, an articulatory synthesiser: a tube model of the vocal tract.
//
// Package: @echogarden/gnuspeech-wasm 0.3.0 (npm; GPL-3.0 by its package.json). Five voices take turns; rate and pitch are
// drawn for each sentence. It is given the folder that holds node_modules, since this folder has none:
//
//   node train/engines/gnuspeech.mjs --modules DIR --texts TSV --out DIR --count N [--seed S]
//
// What an earlier run has spoken is kept. Exit status: 0 done, 2 no plan, 3 done but for some sentences.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { parseArgs } from 'node:util'

const VOICES = ['male', 'female', 'large_child', 'small_child', 'baby']

const { values } = parseArgs({
  options: {
    modules: { type: 'string' }, texts: { type: 'string' }, out: { type: 'string' },
    count: { type: 'string' }, seed: { type: 'string', default: '0' },
  },
})
const count = Number(values.count)
if (!values.modules || !values.texts || !values.out || !Number.isInteger(count) || count < 1) {
  console.error('expected --modules DIR --texts TSV --out DIR --count N [--seed S]')
  process.exit(2)
}

const digest = (...parts) => createHash('sha256').update(parts.join('/')).digest('hex')
const sentences = [...new Set(
  readFileSync(values.texts, 'utf8').split('\n').filter((line) => line.startsWith('en\t')).map((line) => line.slice(3).trim()),
)]
if (count > sentences.length) {
  console.error(`--count ${count}: the table has ${sentences.length} sentences in 'en'`)
  process.exit(2)
}
// The order of speaking.py: by the digest of the seed and the words.
const keyed = sentences.map((words) => [digest(values.seed, words), words]).sort(([a], [b]) => (a < b ? -1 : 1))

const { resolve: find } = createRequire(join(resolve(values.modules), 'node_modules', 'x.js'))
const { synthesize } = await import(pathToFileURL(find('@echogarden/gnuspeech-wasm')))
let failed = 0
for (const [index, [key, words]] of keyed.slice(0, count).entries()) {
  const voice = VOICES[index % VOICES.length]
  // The file's name holds the digest: another text or seed is another file.
  const place = join(values.out, voice, `en-${String(index).padStart(4, '0')}${parseInt(key.slice(0, 8), 16)}.wav`)
  if (existsSync(place)) continue
  mkdirSync(join(values.out, voice), { recursive: true })
  const drawn = (from, low, high) => low + (parseInt(key.slice(from, from + 6), 16) / 0xffffff) * (high - low)
  try {
    const { audioData } = await synthesize(words, { voice, controlRate: 250, tempo: drawn(8, 0.85, 1.2), pitchOffset: drawn(14, -4, 4) })
    writeFileSync(`${place}.part`, Buffer.from(audioData))
    renameSync(`${place}.part`, place)
  } catch (error) {
    failed += 1
    console.error(`${place}: ${error}`)
  }
}
process.exit(failed ? 3 : 0)
