-- SHA-256, HMAC, HKDF and AES-256-GCM, for the dissector alone: slow, not constant time, never to be used to protect anything.
-- (Lua in Wireshark 4.0 has no cryptography of its own.) `bit` is what Wireshark brings; its results are signed.

local band, bxor, bnot, rshift, lshift, ror = bit.band, bit.bxor, bit.bnot, bit.rshift, bit.lshift, bit.ror
local unpack = unpack or table.unpack
local crypto = {}

local function word(octets, at)
    local a, b, c, d = octets:byte(at, at + 3)
    return bit.tobit(a * 16777216 + b * 65536 + c * 256 + d)
end

local function octets_of(value)
    return string.char(band(rshift(value, 24), 255), band(rshift(value, 16), 255), band(rshift(value, 8), 255), band(value, 255))
end

-- FIPS 180-4: constants are the first bits of roots of primes.
local K, H0 = {}, {}
do
    local found, candidate = 0, 2
    while found < 64 do
        local prime = true
        for divisor = 2, math.floor(math.sqrt(candidate)) do
            if candidate % divisor == 0 then
                prime = false
                break
            end
        end
        if prime then
            found = found + 1
            local root = candidate ^ (1 / 3)
            K[found] = bit.tobit(math.floor((root - math.floor(root)) * 4294967296))
            if found <= 8 then
                root = math.sqrt(candidate)
                H0[found] = bit.tobit(math.floor((root - math.floor(root)) * 4294967296))
            end
        end
        candidate = candidate + 1
    end
end

function crypto.sha256(message)
    local length = #message
    message = message .. "\128" .. ("\0"):rep((55 - length) % 64) .. "\0\0\0\0" .. octets_of(length * 8)
    local h = {}
    for i = 1, 8 do
        h[i] = H0[i]
    end
    local w = {}
    for block = 1, #message, 64 do
        for i = 1, 16 do
            w[i] = word(message, block + (i - 1) * 4)
        end
        for i = 17, 64 do
            local x, y = w[i - 15], w[i - 2]
            local s0 = bxor(ror(x, 7), ror(x, 18), rshift(x, 3))
            local s1 = bxor(ror(y, 17), ror(y, 19), rshift(y, 10))
            w[i] = bit.tobit(w[i - 16] + s0 + w[i - 7] + s1)
        end
        local a, b, c, d, e, f, g, last = h[1], h[2], h[3], h[4], h[5], h[6], h[7], h[8]
        for i = 1, 64 do
            local s1 = bxor(ror(e, 6), ror(e, 11), ror(e, 25))
            local t1 = last + s1 + bxor(band(e, f), band(bnot(e), g)) + K[i] + w[i]
            local s0 = bxor(ror(a, 2), ror(a, 13), ror(a, 22))
            local t2 = s0 + bxor(band(a, b), band(a, c), band(b, c))
            last, g, f, e, d, c, b, a = g, f, e, bit.tobit(d + t1), c, b, a, bit.tobit(t1 + t2)
        end
        for i, value in ipairs({ a, b, c, d, e, f, g, last }) do
            h[i] = bit.tobit(h[i] + value)
        end
    end
    local out = {}
    for i = 1, 8 do
        out[i] = octets_of(h[i])
    end
    return table.concat(out)
end

local function xor_each(octets, value)
    return (octets:gsub(".", function(octet)
        return string.char(bxor(octet:byte(), value))
    end))
end

function crypto.hmac(key, message)
    if #key > 64 then
        key = crypto.sha256(key)
    end
    key = key .. ("\0"):rep(64 - #key)
    return crypto.sha256(xor_each(key, 0x5c) .. crypto.sha256(xor_each(key, 0x36) .. message))
end

-- RFC 5869, one block of output.
function crypto.extract(salt, secret)
    return crypto.hmac(salt, secret)
end

-- draft-skex-dske, "Envelope", for 32 octets.
function crypto.expand(prk, label, context)
    local info = "\0\32" .. string.char(#label) .. label .. "\0" .. string.char(#context) .. context
    return crypto.hmac(prk, info .. "\1")
end

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

-- The plaintext, or nil where the tag is wrong.
function crypto.open(key, nonce, aad, ciphertext, tag)
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

return crypto
