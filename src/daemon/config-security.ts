/** The schema of `security`. */
import { z } from 'zod';
import { KEYS_MAX } from '../limits.js';
import type { SecurityConfig } from './config.js';
import { absolutePath, say, section, whole } from './config-fields.js';

const INSTEAD = '`security: none`, or `security: { key_file: /etc/conntwin/key }`';
const KEYS_INSTEAD = '`keys: [ { id: 1, file: /etc/conntwin/key1 }, { id: 2, file: /etc/conntwin/key2 } ]`';
/** The key id of `key_file`. */
export const DEFAULT_KEY_ID = 1;

const key = section(
  {
    id: whole('a key id', '`id: 2`', 1, 255),
    file: absolutePath('a key file', 'file: /etc/conntwin/key2'),
  },
  '`{ id: 2, file: /etc/conntwin/key2 }`',
);

const sealed = z
  .strictObject({
    key_file: absolutePath('a key file', 'key_file: /etc/conntwin/key').optional(),
    keys: z
      .array(key, { error: say('a list of keys', KEYS_INSTEAD) })
      .min(1, { error: `no key, write ${KEYS_INSTEAD}` })
      .max(KEYS_MAX, { error: `has more than ${KEYS_MAX} keys, leave out those that nobody sends with` })
      .optional(),
    send: whole('the id of the key to send with', '`send: 2`', 1, 255).optional(),
  })
  .superRefine(({ key_file: file, keys, send }, context) => {
    const say = (message: string, ...path: PropertyKey[]) =>
      context.addIssue({ code: 'custom', message, path, input: keys });
    if (file === undefined && keys === undefined) say(`no key, write ${INSTEAD}`);
    if (file !== undefined && keys !== undefined)
      say('both key_file and keys, keep one: key_file is the short form of one key with id 1');
    if (file !== undefined && send !== undefined && send !== DEFAULT_KEY_ID)
      say('is not the id of a key: key_file has id 1, leave send out', 'send');
    if (keys === undefined) return;
    const ids = keys.map(({ id }) => id);
    ids.forEach((id, at) => {
      if (ids.indexOf(id) !== at)
        say(`${id} stands twice, give every key an id of its own`, 'keys', at, 'id');
    });
    if (send === undefined && keys.length > 1)
      say(`missing, write the id of the key to send with, as \`send: ${ids[0]}\``, 'send');
    if (send !== undefined && !ids.includes(send))
      say(`${send} is not the id of a key, write one of ${ids.join(', ')}`, 'send');
  })
  .transform(({ key_file: file, keys, send }): SecurityConfig => {
    const all = keys ?? [{ id: DEFAULT_KEY_ID, file: file! }];
    return { keys: all, sendKeyId: send ?? all[0].id };
  });

/** `none`, one key file, or keys by id and the one to send with. */
export const securitySchema = z.union([z.literal('none'), sealed], { error: say('a choice', INSTEAD) });
