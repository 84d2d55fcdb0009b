// Small pictures: a screenshot of text has few colours, and a palette makes it a third of its size.

import { crc32, deflateSync, inflateSync } from 'node:zlib';

// Writes an RGB PNG (as Chromium makes them) again, with a palette. Colours are rounded until 256 are enough; the commonest
// of those that fall together replaces all, so that grounds keep theirs.
export function shrink(png) {
    const { width, height, pixels } = decode(png);
    const counts = new Map();
    for (let at = 0; at < pixels.length; at += 3) {
        const colour = pixels.readUIntBE(at, 3);
        counts.set(colour, (counts.get(colour) ?? 0) + 1);
    }
    const byCount = [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a));
    let mask;
    let palette;
    for (let bits = 8; !palette || palette.size > 256; bits -= 1) {
        mask = ((0xff << (8 - bits)) & 0xff) * 0x010101;
        palette = new Map();
        for (const colour of byCount) {
            const kind = colour & mask;
            if (!palette.has(kind)) palette.set(kind, { index: palette.size, colour });
        }
    }
    const lines = Buffer.alloc((width + 1) * height); // each begins with a 0: no filter, best for palettes
    for (let y = 0; y < height; y += 1) {
        for (let x = 0; x < width; x += 1) {
            const colour = pixels.readUIntBE((y * width + x) * 3, 3);
            lines[y * (width + 1) + 1 + x] = palette.get(colour & mask).index;
        }
    }
    const colours = Buffer.alloc(palette.size * 3);
    for (const { index, colour } of palette.values()) colours.writeUIntBE(colour, index * 3, 3);
    return encode(width, height, colours, lines);
}

// PNG specification, sections 5, 7 and 9.
function decode(png) {
    const parts = [];
    for (let at = 8; at < png.length; ) {
        const length = png.readUInt32BE(at);
        if (png.toString('latin1', at + 4, at + 8) === 'IDAT') parts.push(png.subarray(at + 8, at + 8 + length));
        at += length + 12;
    }
    const [width, height, kind] = [png.readUInt32BE(16), png.readUInt32BE(20), png.readUInt16BE(24)];
    if (kind !== 0x0802) throw new Error('not RGB with 8 bits a channel');
    const stride = width * 3;
    const raw = inflateSync(Buffer.concat(parts));
    const pixels = Buffer.alloc(stride * height);
    for (let y = 0; y < height; y += 1) {
        const filter = raw[y * (stride + 1)];
        for (let x = 0; x < stride; x += 1) {
            const at = y * stride + x;
            const left = x >= 3 ? pixels[at - 3] : 0;
            const up = y > 0 ? pixels[at - stride] : 0;
            const corner = x >= 3 && y > 0 ? pixels[at - stride - 3] : 0;
            const guess = [0, left, up, (left + up) >> 1, paeth(left, up, corner)][filter];
            pixels[at] = raw[y * (stride + 1) + 1 + x] + guess;
        }
    }
    return { width, height, pixels };
}

function paeth(left, up, corner) {
    const [a, b, c] = [Math.abs(up - corner), Math.abs(left - corner), Math.abs(left + up - 2 * corner)];
    return a <= b && a <= c ? left : b <= c ? up : corner;
}

function encode(width, height, colours, lines) {
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 3], 8); // 8 bits, palette
    const chunk = (name, content) => {
        const body = Buffer.concat([Buffer.from(name, 'latin1'), content]);
        const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
        length.writeUInt32BE(content.length);
        sum.writeUInt32BE(crc32(body));
        return Buffer.concat([length, body, sum]);
    };
    const chunks = [['IHDR', header], ['PLTE', colours], ['IDAT', deflateSync(lines, { level: 9 })], ['IEND', Buffer.alloc(0)]];
    return Buffer.concat([Buffer.from('89504e470d0a1a0a', 'hex'), ...chunks.map(([name, content]) => chunk(name, content))]);
}
