/** Classic BPF as the kernel runs it, for the instructions that conntwin uses; a load past the end returns 0. */
import type { BpfInstruction } from '../../../native/structs.js';

/** What the program returns for a packet: 0 drops it. Throws on an instruction that the kernel would refuse. */
export function runProgram(program: readonly BpfInstruction[], packet: Uint8Array): number {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  let a = 0;
  for (let pc = 0; ; pc++) {
    const instruction = program[pc];
    if (instruction === undefined) throw new RangeError(`the program runs past its end at ${pc}`);
    const [code, jt, jf, k] = instruction;
    if (jt > 255 || jf > 255) throw new RangeError(`a jump of ${pc} is too long`);
    if (code === 0x20 || code === 0x30) {
      if (k + (code === 0x20 ? 4 : 1) > packet.length) return 0;
      a = code === 0x20 ? view.getUint32(k) : view.getUint8(k);
    } else if (code === 0x54) a = (a & k) >>> 0;
    else if (code === 0x05) pc += k;
    else if (code === 0x15) pc += a === k ? jt : jf;
    else if (code === 0x06) return k;
    else throw new RangeError(`code ${code} at ${pc}`);
  }
}
