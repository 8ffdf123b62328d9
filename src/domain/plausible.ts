import type { Channel, Label } from '../db/tables.ts'
import type { SeedContact, SeedOrganization } from './seed.ts'

// Plausible organizations, the same for the same index: numbers as each country writes them, names and domains in the
// letters of its language.

interface Country {
  /** First parts of a name, and the legal forms that may close it. */
  names: readonly string[]
  trades: readonly string[]
  forms: readonly string[]
  cities: readonly string[]
  domain: string
  /** Notations of a number; each `#` becomes a digit from 2 to 9, so that no number begins like a special one. */
  telephones: readonly string[]
}

const countries: readonly Country[] = [
  {
    names: ['Maple', 'Lakeside', 'Granite', 'Redwood', 'Prairie'],
    trades: ['Logistics', 'Health', 'Software', 'Energy'],
    forms: ['Inc.', 'LLC'],
    cities: ['Boston', 'Denver', 'Austin'],
    domain: 'example.com',
    telephones: ['+1 (212) 55#-####', '+1 617-55#-####', '+1.303.55#.####', '+1 800 55# ####'],
  },
  {
    names: ['Thistle', 'Fairfield', 'Kingsway', 'Oakham'],
    trades: ['Foods', 'Insurance', 'Engineering', 'Media'],
    forms: ['Ltd', 'plc'],
    cities: ['Leeds', 'Bristol', 'Glasgow'],
    domain: 'example.co.uk',
    telephones: ['+44 20 7946 0###', '+44 (0)161 496 0###', '+44 113 496 0###'],
  },
  {
    names: ['Müller', 'Grünwald', 'Straßburger', 'Köhler'],
    trades: ['Maschinenbau', 'Versand', 'Gebäudetechnik'],
    forms: ['GmbH', 'AG', 'e.K.'],
    cities: ['Köln', 'München', 'Nürnberg'],
    domain: 'bücher.example',
    telephones: ['+49 30 23125 ###', '+49 (0)89 / 99998-###', '+49 221 4710 ###'],
  },
  {
    names: ['Château', 'Lumière', 'Forêt', 'Étoile'],
    trades: ['Conseil', 'Transports', 'Pâtisserie'],
    forms: ['SARL', 'S.A.'],
    cities: ['Besançon', 'Orléans', 'Nîmes'],
    domain: 'société.example',
    telephones: ['+33 1 99 00 ## ##', '+33 (0)4 65 71 ## ##', '+33 2.61.91.##.##'],
  },
  {
    names: ['Björk', 'Åkerlund', 'Sjöberg', 'Östlund'],
    trades: ['Energi', 'Skog', 'Bygg'],
    forms: ['AB', 'HB'],
    cities: ['Malmö', 'Göteborg', 'Umeå'],
    domain: 'exempel-åäö.example',
    telephones: ['+46 8 465 004 ##', '+46 31-390 06 ##', '+46 (0)40 628 04 ##'],
  },
  {
    names: ['Żuraw', 'Łąka', 'Śnieżka', 'Dąbrowa'],
    trades: ['Budownictwo', 'Meble', 'Usługi'],
    forms: ['S.A.', 'sp. z o.o.'],
    cities: ['Łódź', 'Gdańsk', 'Wrocław'],
    domain: 'przykład.example',
    telephones: ['+48 22 5## ## ##', '+48 58 3## ## ##'],
  },
  {
    names: ['山田', '桜井', '富士', '東海'],
    trades: ['商事', '製作所', '運輸'],
    forms: ['株式会社'],
    cities: ['東京', '大阪', '札幌'],
    domain: '例え.example',
    telephones: ['+81 3-5###-####', '+81 (0)6-6###-####'],
  },
  {
    names: ['Αθηνά', 'Ήλιος', 'Ελαία'],
    trades: ['Ναυτιλία', 'Τρόφιμα', 'Τουρισμός'],
    forms: ['Α.Ε.', 'Ε.Π.Ε.'],
    cities: ['Αθήνα', 'Πάτρα', 'Χανιά'],
    domain: 'παράδειγμα.example',
    telephones: ['+30 210 3## ####', '+30 2310 2## ###'],
  },
  {
    names: ['Araucária', 'Ipê', 'São Bento'],
    trades: ['Alimentos', 'Mineração', 'Serviços'],
    forms: ['Ltda.', 'S/A'],
    cities: ['São Paulo', 'Brasília', 'Maceió'],
    domain: 'exemplo.example',
    telephones: ['+55 11 3###-####', '+55 (61) 3###-####'],
  },
  {
    names: ['Wattle', 'Ironbark', 'Coolabah'],
    trades: ['Mining', 'Rural Supplies', 'Care'],
    forms: ['Pty Ltd'],
    cities: ['Perth', 'Cairns', 'Hobart'],
    domain: 'example.com.au',
    telephones: ['+61 2 5550 ####', '+61 (0)8 5550 ####'],
  },
]

/** What a value is made from. `tail` tells apart the values of one kind in one organization. */
interface Source {
  country: Country
  site: string
  tail: string
  random: () => number
}

const telephone = ({ country, random }: Source) =>
  pick(random, country.telephones).replace(/#/g, () => String(2 + Math.floor(random() * 8)))

/** What the n-th contact of an organization is; from the eighth on they repeat. */
const slots: readonly [Channel, Label, value: (source: Source) => string][] = [
  ['telephone', 'general', telephone],
  ['email', 'general', ({ site, tail }) => `info${tail}@${site}`],
  ['website', 'general', ({ site }) => `www.${site}`],
  ['telephone', 'service_desk', telephone],
  ['email', 'service_desk', ({ site, tail }) => `helpdesk${tail}@${site}`],
  ['telephone', 'fax', telephone],
  ['website', 'service_desk', ({ site, tail }) => `https://support.${site}/${tail}`],
]

/** Organizations come in groups of this size: a root, branches beneath it, and departments beneath those. */
export const groupSize = 25
const branchesPerRoot = 4

/** The organization at an index, from 0. Its parent, if it has one, is at a lower index of the same group. */
export function plausibleOrganization(index: number, contactCount: number): SeedOrganization {
  const within = index % groupSize
  const root = index - within
  const parent = within === 0 ? undefined : within <= branchesPerRoot ? root : root + 1 + (within % branchesPerRoot)
  return {
    name: nameAt(index),
    parent: parent === undefined ? undefined : nameAt(parent),
    disabled: randomAt(index)() < 0.05,
    source: 'seed',
    sourceId: String(index + 1),
    contacts: Array.from({ length: contactCount }, (_, n) => contactAt(index, n)),
  }
}

/** Groups stay within one country. The number at the end makes the name unique. */
const countryAt = (index: number) => countries[Math.floor(index / groupSize) % countries.length]!

function nameAt(index: number): string {
  const country = countryAt(index)
  const group = randomAt(index - (index % groupSize))
  const company = `${pick(group, country.names)} ${pick(group, country.trades)} ${pick(group, country.forms)}`
  const within = index % groupSize
  const place = within === 0 ? '' : ` ${pick(randomAt(index), country.cities)}`
  return `${company}${place} ${index + 1}`
}

function contactAt(index: number, n: number): SeedContact {
  const [channel, label, valueFrom] = slots[n % slots.length]!
  const country = countryAt(index)
  const random = randomAt(index * 1009 + n + 1)
  const tail = n < slots.length ? '' : String(n)
  const value = valueFrom({ country, site: `org${index + 1}.${country.domain}`, tail, random })
  return { channel, label, value, integration: random() < 0.1 }
}

const pick = <Item>(random: () => number, items: readonly Item[]): Item => items[Math.floor(random() * items.length)]!

/** Numbers from 0 to 1 that depend on the seed alone (mulberry32). */
function randomAt(seed: number): () => number {
  let state = (seed + 1) * 0x9e3779b1
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
