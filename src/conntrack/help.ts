/** What `conntrack -h` says. */
import { COMPATIBLE_VERSION } from './run.js';

const TEXT = `conntrack: what the kernel's connection tracking knows, and how to change it
(the command line of conntrack-tools ${COMPATIBLE_VERSION}, by Conntwin)

  conntrack COMMAND [TABLE] [OPTIONS]
  conntrack -R FILE               carry out the -I, -A, -U and -D lines of a file (-: standard input)

Commands
  -L, --dump                      show flows; also of expect, dying, unconfirmed
  -G, --get                       show one flow or expectation
  -I, --create                    make a flow or an expectation
  -A, --add                       make a flow, unless it is there
  -U, --update                    change flows
  -D, --delete                    delete flows, or an expectation
  -E, --event                     show changes as they happen, until Ctrl-C; also of expect
  -F, --flush                     delete everything
  -C, --count                     how many there are
  -S, --stats                     the kernel's counters, for each CPU
  -V, --version    -h, --help

Which flows
  -s, --src ADDRESS               source; ADDRESS, ADDRESS/LENGTH or ADDRESS/MASK
  -d, --dst ADDRESS               destination
  -r, --reply-src ADDRESS         source of the replies
  -q, --reply-dst ADDRESS         destination of the replies
      --mask-src, --mask-dst MASK
  -p, --proto PROTOCOL            name or number; it brings options of its own (below)
  -f, --family ipv4|ipv6
  -u, --status WORD[,WORD...]     ASSURED, SEEN_REPLY, FIXED_TIMEOUT, EXPECTED, OFFLOAD, HW_OFFLOAD, UNSET; !WORD
  -m, --mark VALUE[/MASK]
  -l, --label NAME[,NAME...]      the names stand in /etc/xtables/connlabel.conf
      --labelmap FILE             or in this file
  -n, --src-nat [ADDRESS[:PORT]]  translated source
  -g, --dst-nat [ADDRESS[:PORT]]  translated destination
  -j, --any-nat [ADDRESS[:PORT]]  one or the other
  -w, --zone N  --orig-zone N  --reply-zone N
  -i, --id N

What is set
  -t, --timeout SECONDS           and -u, -m, -n, -g, -w as above
      --label-add NAME[,NAME...]  --label-del [NAME[,NAME...]]

Expectations
      --tuple-src, --tuple-dst ADDRESS

How it is shown
  -o, --output FORM[,FORM...]     extended, id, labels, ktimestamp, timestamp; xml; save (alone)
  -e, --event-mask WORD[,...]     ALL, NEW, UPDATES, DESTROY
  -b, --buffer-size BYTES         of the socket that events come by
  -z, --zero                      set the counters to zero while they are shown

Behind -p
  tcp, udp, udplite, sctp, dccp   --sport, --dport, --reply-port-src, --reply-port-dst
                                  --tuple-port-src, --tuple-port-dst, --mask-port-src, --mask-port-dst
  tcp, sctp, dccp                 --state STATE
  sctp                            --orig-vtag, --reply-vtag
  dccp                            --role client|server
  gre                             --srckey, --dstkey, --reply-key-src, --reply-key-dst
  icmp, icmpv6                    --icmp-type, --icmp-code, --icmp-id (--icmpv6-type, ...)

Exit codes: 0 done; 1 nothing found, or the kernel refused; 2 the command line is wrong
`;

export const helpText = (): string => TEXT;
