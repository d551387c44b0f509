// Reading canonical MessagePack: null, booleans, integers, bytes, texts and lists. Bytes are views.

/** The value of these bytes; throws where they are cut off, go on, or hold anything else. */
export function decode(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const number = (size) => {
    let value = 0;
    for (let n = 0; n < size; n++) value = value * 256 + view.getUint8(at++);
    return value;
  };
  const take = (size) => {
    if (at + size > bytes.length) throw new RangeError("cut off");
    at += size;
    return bytes.subarray(at - size, at);
  };
  const text = (size) => new TextDecoder("utf-8", { fatal: true }).decode(take(size));
  const list = (size) => Array.from({ length: Math.min(size, bytes.length - at + 1) }, value);
  function value() {
    const head = number(1);
    if (head < 0x80) return head;
    if (head >= 0x90 && head <= 0x9f) return list(head & 15);
    if (head >= 0xa0 && head <= 0xbf) return text(head & 31);
    switch (head) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return take(number(1));
      case 0xc5: return take(number(2));
      case 0xc6: return take(number(4));
      case 0xcc: return number(1);
      case 0xcd: return number(2);
      case 0xce: return number(4);
      case 0xcf: return number(8);
      case 0xd9: return text(number(1));
      case 0xda: return text(number(2));
      case 0xdb: return text(number(4));
      case 0xdc: return list(number(2));
      case 0xdd: return list(number(4));
      default: throw new TypeError("not a value of ours");
    }
  }
  const found = value();
  if (at !== bytes.length) throw new RangeError("it goes on");
  return found;
}
