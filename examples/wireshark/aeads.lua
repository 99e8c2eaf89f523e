-- AES-256-GCM and ChaCha20-Poly1305, for the dissector alone: slow, not constant time. Both open: the plaintext, or nil where the
-- tag is wrong.

local band, bxor, rshift, lshift, rol = bit.band, bit.bxor, bit.rshift, bit.lshift, bit.rol
local unpack = unpack or table.unpack
local aeads = {}

local function word(octets, at)
    local a, b, c, d = octets:byte(at, at + 3)
    return bit.tobit(a * 16777216 + b * 65536 + c * 256 + d)
end

local function octets_of(value)
    return string.char(band(rshift(value, 24), 255), band(rshift(value, 16), 255), band(rshift(value, 8), 255), band(value, 255))
end

-- FIPS 197 and SP 800-38D ------------------------------------------------------------------------------------------------------

local SBOX = {}
do
    local p, q = 1, 1
    repeat
        -- p times 3, q divided by 3.
        p = band(bxor(p, lshift(p, 1), p >= 128 and 0x11b or 0), 255)
        q = bxor(q, lshift(q, 1))
        q = bxor(q, lshift(q, 2))
        q = band(bxor(q, lshift(q, 4)), 255)
        if q >= 128 then
            q = bxor(q, 9)
        end
        local function rotated(count)
            return band(bxor(lshift(q, count), rshift(q, 8 - count)), 255)
        end
        SBOX[p] = bxor(q, rotated(1), rotated(2), rotated(3), rotated(4), 0x63)
    until p == 1
    SBOX[0] = 0x63
end

local function aes_schedule(key)
    local w = {}
    for i = 0, 7 do
        w[i] = { key:byte(i * 4 + 1, i * 4 + 4) }
    end
    local round = 1
    for i = 8, 59 do
        local t = { w[i - 1][1], w[i - 1][2], w[i - 1][3], w[i - 1][4] }
        if i % 8 == 0 then
            t = { bxor(SBOX[t[2]], round), SBOX[t[3]], SBOX[t[4]], SBOX[t[1]] }
            round = round * 2
        elseif i % 8 == 4 then
            t = { SBOX[t[1]], SBOX[t[2]], SBOX[t[3]], SBOX[t[4]] }
        end
        local old = w[i - 8]
        w[i] = { bxor(old[1], t[1]), bxor(old[2], t[2]), bxor(old[3], t[3]), bxor(old[4], t[4]) }
    end
    return w
end

local function doubled(value)
    value = value * 2
    return value > 255 and bxor(value, 0x11b) or value
end

local function aes(schedule, block)
    local s = { block:byte(1, 16) }
    local function add(round)
        for column = 0, 3 do
            local key = schedule[round * 4 + column]
            for row = 1, 4 do
                s[column * 4 + row] = bxor(s[column * 4 + row], key[row])
            end
        end
    end
    add(0)
    for round = 1, 14 do
        local t = {}
        for column = 0, 3 do
            for row = 0, 3 do
                t[column * 4 + row + 1] = SBOX[s[(column + row) % 4 * 4 + row + 1]]
            end
        end
        if round < 14 then
            for column = 0, 3 do
                local at = column * 4
                local a, b, c, d = t[at + 1], t[at + 2], t[at + 3], t[at + 4]
                local all = bxor(a, b, c, d)
                t[at + 1] = bxor(a, all, doubled(bxor(a, b)))
                t[at + 2] = bxor(b, all, doubled(bxor(b, c)))
                t[at + 3] = bxor(c, all, doubled(bxor(c, d)))
                t[at + 4] = bxor(d, all, doubled(bxor(d, a)))
            end
        end
        s = t
        add(round)
    end
    return string.char(unpack(s))
end

local function xor(a, b)
    local out = {}
    for i = 1, #a do
        out[i] = string.char(bxor(a:byte(i), b:byte(i)))
    end
    return table.concat(out)
end

local function words(block)
    return { word(block, 1), word(block, 5), word(block, 9), word(block, 13) }
end

-- SP 800-38D, algorithm 1.
local function multiply(x, y)
    local z1, z2, z3, z4 = 0, 0, 0, 0
    local v1, v2, v3, v4 = y[1], y[2], y[3], y[4]
    for i = 0, 127 do
        if band(rshift(x[math.floor(i / 32) + 1], 31 - i % 32), 1) == 1 then
            z1, z2, z3, z4 = bxor(z1, v1), bxor(z2, v2), bxor(z3, v3), bxor(z4, v4)
        end
        local low = band(v4, 1)
        v4 = bxor(rshift(v4, 1), lshift(v3, 31))
        v3 = bxor(rshift(v3, 1), lshift(v2, 31))
        v2 = bxor(rshift(v2, 1), lshift(v1, 31))
        v1 = rshift(v1, 1)
        if low == 1 then
            v1 = bxor(v1, bit.tobit(0xe1000000))
        end
    end
    return { z1, z2, z3, z4 }
end

function aeads.aes256gcm(key, nonce, aad, ciphertext, tag)
    local schedule = aes_schedule(key)
    local h = words(aes(schedule, ("\0"):rep(16)))
    local function padded(octets)
        return octets .. ("\0"):rep(-#octets % 16)
    end
    local lengths = "\0\0\0\0" .. octets_of(#aad * 8) .. "\0\0\0\0" .. octets_of(#ciphertext * 8)
    local hashed = padded(aad) .. padded(ciphertext) .. lengths
    local y = { 0, 0, 0, 0 }
    for at = 1, #hashed, 16 do
        local x = words(hashed:sub(at, at + 15))
        y = multiply({ bxor(y[1], x[1]), bxor(y[2], x[2]), bxor(y[3], x[3]), bxor(y[4], x[4]) }, h)
    end
    local sum = octets_of(y[1]) .. octets_of(y[2]) .. octets_of(y[3]) .. octets_of(y[4])
    if xor(sum, aes(schedule, nonce .. "\0\0\0\1")) ~= tag then
        return nil
    end
    local out = {}
    for at = 1, #ciphertext, 16 do
        local block = ciphertext:sub(at, at + 15)
        out[#out + 1] = xor(block, aes(schedule, nonce .. octets_of((at - 1) / 16 + 2)))
    end
    return table.concat(out)
end

-- RFC 8439 -----------------------------------------------------------------------------------------------------------------

local function little(octets, at)
    return word(octets:sub(at, at + 3):reverse(), 1)
end

local QUARTERS = {
    { 1, 5, 9, 13 }, { 2, 6, 10, 14 }, { 3, 7, 11, 15 }, { 4, 8, 12, 16 },
    { 1, 6, 11, 16 }, { 2, 7, 12, 13 }, { 3, 8, 9, 14 }, { 4, 5, 10, 15 },
}

local function chacha20(key, counter, nonce)
    local start = { 0x61707865, 0x3320646e, 0x79622d32, 0x6b206574 }
    for i = 0, 7 do
        start[5 + i] = little(key, 1 + 4 * i)
    end
    start[13] = counter
    for i = 0, 2 do
        start[14 + i] = little(nonce, 1 + 4 * i)
    end
    local s = { unpack(start) }
    for _ = 1, 10 do
        for _, quarter in ipairs(QUARTERS) do
            local a, b, c, d = unpack(quarter)
            for _, step in ipairs({ { a, b, d, 16 }, { c, d, b, 12 }, { a, b, d, 8 }, { c, d, b, 7 } }) do
                local to, from, turned, count = unpack(step)
                s[to] = bit.tobit(s[to] + s[from])
                s[turned] = rol(bxor(s[turned], s[to]), count)
            end
        end
    end
    local out = {}
    for i = 1, 16 do
        out[i] = octets_of(bit.tobit(s[i] + start[i])):reverse()
    end
    return table.concat(out)
end

-- 130 bits are ten limbs of 13: all sums of products are exact in a number of Lua.
local LIMBS, LIMB = 10, 8192

local function limbs(octets)
    local out, value, bits, place = {}, 0, 0, 1
    for i = 1, LIMBS do
        while bits < 13 and place <= #octets do
            value, bits, place = value + octets:byte(place) * 2 ^ bits, bits + 8, place + 1
        end
        out[i] = value % LIMB
        value, bits = math.floor(value / LIMB), math.max(bits - 13, 0)
    end
    return out
end

local function carried(h)
    local carry = 0
    for i = 1, LIMBS do
        local sum = h[i] + carry
        h[i], carry = sum % LIMB, math.floor(sum / LIMB)
    end
    h[1] = h[1] + 5 * carry
end

local function poly1305(key, message)
    local clamped = {}
    for i = 1, 16 do
        local mask = (i == 4 or i == 8 or i == 12 or i == 16) and 15 or (i == 5 or i == 9 or i == 13) and 252 or 255
        clamped[i] = string.char(band(key:byte(i), mask))
    end
    local r, h = limbs(table.concat(clamped)), limbs("")
    for at = 1, #message, 16 do
        local m = limbs(message:sub(at, at + 15) .. "\1")
        local product = {}
        for i = 1, LIMBS do
            h[i], product[i] = h[i] + m[i], 0
        end
        for i = 1, LIMBS do
            for j = 1, LIMBS do
                local to, times = i + j - 1, 1
                if to > LIMBS then
                    to, times = to - LIMBS, 5
                end
                product[to] = product[to] + h[i] * r[j] * times
            end
        end
        h = product
        carried(h)
        carried(h)
    end
    carried(h)
    -- Less than 2^130 now; 2^130 - 5 and above is reduced.
    local reduced = { unpack(h) }
    reduced[1] = reduced[1] + 5
    local carry = 0
    for i = 1, LIMBS do
        local sum = reduced[i] + carry
        reduced[i], carry = sum % LIMB, math.floor(sum / LIMB)
    end
    if carry > 0 then
        h = reduced
    end
    -- The low 128 bits, and the second half of the key.
    local out, value, bits, limb, overflow = {}, 0, 0, 1, 0
    for i = 1, 16 do
        while bits < 8 and limb <= LIMBS do
            value, bits, limb = value + h[limb] * 2 ^ bits, bits + 13, limb + 1
        end
        local sum = value % 256 + key:byte(16 + i) + overflow
        out[i], overflow = string.char(sum % 256), math.floor(sum / 256)
        value, bits = math.floor(value / 256), bits - 8
    end
    return table.concat(out)
end

function aeads.chacha20poly1305(key, nonce, aad, ciphertext, tag)
    local function padded(octets)
        return octets .. ("\0"):rep(-#octets % 16)
    end
    local function length(octets)
        return octets_of(#octets):reverse() .. "\0\0\0\0"
    end
    local authenticated = padded(aad) .. padded(ciphertext) .. length(aad) .. length(ciphertext)
    if poly1305(chacha20(key, 0, nonce):sub(1, 32), authenticated) ~= tag then
        return nil
    end
    local out = {}
    for at = 1, #ciphertext, 64 do
        local block = ciphertext:sub(at, at + 63)
        out[#out + 1] = xor(block, chacha20(key, (at - 1) / 64 + 1, nonce))
    end
    return table.concat(out)
end

return aeads
