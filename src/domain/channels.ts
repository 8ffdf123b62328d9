import { createHash } from 'node:crypto'
import { domainToASCII } from 'node:url'
import { type Channel, channelLabels, type Label } from '../db/tables.ts'
import { invisible } from './parse.ts'
import { findNumbers, hasDigit, telephoneKeys, telephoneSearchKey } from './telephone.ts'

/** All that is particular to one channel. A new channel is a new row here and a new value in db/tables.ts. */
export interface ChannelRule {
  /** The GraphQL object type of its contacts. */
  typename: `${string}Contact`
  /** How messages name a value of the channel. */
  subject: string
  labels: readonly Label[]
  description: string
  /** How a reverse look-up compares. */
  searchDescription: string
  /** Why a text cannot be a value of the channel, as the end of a sentence; undefined when it can. One linear check. */
  refuse(text: string): string | undefined
  /** A link that is safe to follow, or null where the text makes none. */
  href(text: string): string | null
  /** The keys under which the value is found by a reverse look-up. */
  lookupKeys(text: string): string[]
  /** The one key that a searched text stands for; undefined when it holds nothing to search for. */
  searchKey(text: string): string | undefined
}

export const channels: Record<Channel, ChannelRule> = {
  telephone: {
    typename: 'TelephoneContact',
    subject: 'Telephone',
    labels: channelLabels.telephone,
    description: 'A telephone or fax number, as people write it; the text may hold several.',
    searchDescription:
      'A number in any notation: only its digits count. What was entered with a country code is found with it and without.',
    refuse: (text) => (hasDigit(text) ? undefined : 'must hold at least one digit.'),
    href: (text) => {
      const [number] = findNumbers(text)
      return number === undefined ? null : `tel:${number}`
    },
    lookupKeys: telephoneKeys,
    searchKey: telephoneSearchKey,
  },
  email: {
    typename: 'EmailContact',
    subject: 'Email',
    labels: channelLabels.email,
    description: 'An e-mail address.',
    searchDescription: 'An e-mail address, in any case.',
    refuse: (text) => {
      if (/\s/u.test(text)) return 'must not hold white space.'
      const parts = text.split('@')
      return parts.length === 2 && !parts.some((part) => invisible.test(part))
        ? undefined
        : 'must have exactly one @, with text on both sides.'
    },
    href: (text) => {
      const [local, domain, ...more] = text.split('@')
      return local && domain && more.length === 0
        ? `mailto:${encodeURIComponent(local)}@${encodeURIComponent(domain)}`
        : null
    },
    lookupKeys: (text) => [emailKey(text)].filter(Boolean),
    searchKey: (text) => emailKey(text.trim()) || undefined,
  },
  website: {
    typename: 'WebsiteContact',
    subject: 'Website',
    labels: channelLabels.website,
    description: 'The address of a web page, with or without its scheme.',
    searchDescription: 'A web address, with or without its scheme, leading `www.` and trailing slash.',
    refuse: (text) => {
      if (/\s/u.test(text)) return 'must not hold white space.'
      const scheme = schemeOf(text)
      return scheme === undefined || scheme === 'http' || scheme === 'https'
        ? undefined
        : `must not have the scheme "${scheme}"; only http and https are allowed.`
    },
    href: (text) => {
      const url = webUrl(text)
      // A browser asks for https first; a port that was given for http says that there is none.
      if (url === undefined || (url.protocol === 'http:' && url.port !== '')) return null
      url.protocol = 'https:'
      // URL lets quotes and other marks stand in a host, which no host on the internet has.
      if (!hostName.test(url.hostname)) return null
      return url.username || url.password ? null : url.href
    },
    lookupKeys: (text) => [websiteKey(text)].filter(Boolean),
    searchKey: (text) => websiteKey(text.trim()) || undefined,
  },
}

export const labelDescriptions: Record<Label, string> = {
  general: 'The organization as a whole.',
  service_desk: 'Its service desk.',
  fax: 'Its fax; on telephone only.',
  service_desk_fax: 'The fax of its service desk; on telephone only.',
}

export const channelNames = Object.keys(channels) as Channel[]

const hostName = /^(?:[\w.-]+|\[[\da-f:.]+\])$/

const longestKey = 255

/** A key that is too long for the index becomes its beginning and a digest of all of it. */
function shorten(key: string): string {
  const points = [...key]
  if (points.length <= longestKey) return key
  return `${points.slice(0, longestKey - 44).join('')}#${createHash('sha256').update(key).digest('base64url')}`
}

/** Case makes no difference in practice, and an internationalized domain has one ASCII form. */
function emailKey(text: string): string {
  const address = text.normalize('NFC').toLowerCase()
  const at = address.lastIndexOf('@')
  return shorten(address.slice(0, at + 1) + (domainToASCII(address.slice(at + 1)) || address.slice(at + 1)))
}

/** Host and path, without scheme, leading `www.` and trailing slash. */
function websiteKey(text: string): string {
  const url = webUrl(text)
  if (url === undefined) return shorten(text.toLowerCase())
  return shorten(url.host.replace(/^www\./, '') + url.pathname.replace(/\/$/, '') + url.search)
}

/**
 * The scheme before the first colon. What looks like one is a host with a port where digits follow, as in
 * `localhost:8080`, unless a scheme of that name could be followed.
 */
function schemeOf(text: string): string | undefined {
  const [, name, rest] = /^([a-z][a-z0-9+.-]*):(.*)$/isu.exec(text) ?? []
  if (name === undefined) return undefined
  const scheme = name.toLowerCase()
  const isPort = /^\d{1,5}(?:[/?#]|$)/.test(rest!) && !schemes.has(scheme)
  return isPort ? undefined : scheme
}

/** Schemes that some program follows; no host has such a name. */
const schemes = new Set(
  (
    'about blob callto cid content data facetime file filesystem ftp geo http https intent jar javascript ldap livescript ' +
    'magnet mailto market mid mocha ms-settings news nntp rtsp sftp sip sips skype sms ssh tel telnet urn vbscript ' +
    'view-source vnc ws wss xmpp'
  ).split(' '),
)

function webUrl(text: string): URL | undefined {
  const scheme = schemeOf(text)
  if (scheme !== undefined && scheme !== 'http' && scheme !== 'https') return undefined
  const url = URL.parse(scheme === undefined ? `https://${text.replace(/^\/+/, '')}` : text)
  return url?.hostname ? url : undefined
}
