-- SHA-256, SHA-512 and SHA3-256, for the dissector alone. `bit` is what Wireshark brings; its results are signed.

local band, bor, bxor, bnot = bit.band, bit.bor, bit.bxor, bit.bnot
local rshift, lshift, ror = bit.rshift, bit.lshift, bit.ror
local hashes = {}

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

function hashes.sha256(message)
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

-- 64 bits are two words, high and low. ------------------------------------------------------------------------------

local function unsigned(value)
    return value % 4294967296
end

local function add(ah, al, bh, bl)
    local low = unsigned(al) + unsigned(bl)
    return bit.tobit(ah + bh + math.floor(low / 4294967296)), bit.tobit(low)
end

-- Rotated to the right by 1 to 63 bits.
local function rotated(high, low, count)
    if count >= 32 then
        high, low, count = low, high, count - 32
    end
    if count == 0 then
        return high, low
    end
    return bor(rshift(high, count), lshift(low, 32 - count)), bor(rshift(low, count), lshift(high, 32 - count))
end

local function shifted(high, low, count)
    return rshift(high, count), bor(rshift(low, count), lshift(high, 32 - count))
end

local function longs(text)
    local highs, lows = {}, {}
    for high, low in text:gmatch("(%x%x%x%x%x%x%x%x)(%x%x%x%x%x%x%x%x)") do
        highs[#highs + 1], lows[#lows + 1] = bit.tobit(tonumber(high, 16)), bit.tobit(tonumber(low, 16))
    end
    return highs, lows
end

-- FIPS 180-4: the first 64 bits of the fractions of roots of primes.
local KH, KL = longs([[
    428a2f98d728ae22 7137449123ef65cd b5c0fbcfec4d3b2f e9b5dba58189dbbc
    3956c25bf348b538 59f111f1b605d019 923f82a4af194f9b ab1c5ed5da6d8118
    d807aa98a3030242 12835b0145706fbe 243185be4ee4b28c 550c7dc3d5ffb4e2
    72be5d74f27b896f 80deb1fe3b1696b1 9bdc06a725c71235 c19bf174cf692694
    e49b69c19ef14ad2 efbe4786384f25e3 0fc19dc68b8cd5b5 240ca1cc77ac9c65
    2de92c6f592b0275 4a7484aa6ea6e483 5cb0a9dcbd41fbd4 76f988da831153b5
    983e5152ee66dfab a831c66d2db43210 b00327c898fb213f bf597fc7beef0ee4
    c6e00bf33da88fc2 d5a79147930aa725 06ca6351e003826f 142929670a0e6e70
    27b70a8546d22ffc 2e1b21385c26c926 4d2c6dfc5ac42aed 53380d139d95b3df
    650a73548baf63de 766a0abb3c77b2a8 81c2c92e47edaee6 92722c851482353b
    a2bfe8a14cf10364 a81a664bbc423001 c24b8b70d0f89791 c76c51a30654be30
    d192e819d6ef5218 d69906245565a910 f40e35855771202a 106aa07032bbd1b8
    19a4c116b8d2d0c8 1e376c085141ab53 2748774cdf8eeb99 34b0bcb5e19b48a8
    391c0cb3c5c95a63 4ed8aa4ae3418acb 5b9cca4f7763e373 682e6ff3d6b2b8a3
    748f82ee5defb2fc 78a5636f43172f60 84c87814a1f0ab72 8cc702081a6439ec
    90befffa23631e28 a4506cebde82bde9 bef9a3f7b2c67915 c67178f2e372532b
    ca273eceea26619c d186b8c721c0c207 eada7dd6cde0eb1e f57d4f7fee6ed178
    06f067aa72176fba 0a637dc5a2c898a6 113f9804bef90dae 1b710b35131c471b
    28db77f523047d84 32caab7b40c72493 3c9ebe0a15c9bebc 431d67c49c100d4c
    4cc5d4becb3e42b6 597f299cfc657e2a 5fcb6fab3ad6faec 6c44198c4a475817
]])
local IH, IL = longs([[
    6a09e667f3bcc908 bb67ae8584caa73b 3c6ef372fe94f82b a54ff53a5f1d36f1
    510e527fade682d1 9b05688c2b3e6c1f 1f83d9abfb41bd6b 5be0cd19137e2179
]])

local function sigma(high, low, one, two, three, is_shift)
    local ah, al = rotated(high, low, one)
    local bh, bl = rotated(high, low, two)
    local ch, cl
    if is_shift then
        ch, cl = shifted(high, low, three)
    else
        ch, cl = rotated(high, low, three)
    end
    return bxor(ah, bh, ch), bxor(al, bl, cl)
end

function hashes.sha512(message)
    local length = #message
    message = message .. "\128" .. ("\0"):rep((111 - length) % 128) .. ("\0"):rep(12) .. octets_of(length * 8)
    local hh, hl = {}, {}
    for i = 1, 8 do
        hh[i], hl[i] = IH[i], IL[i]
    end
    local wh, wl = {}, {}
    for block = 1, #message, 128 do
        for i = 1, 16 do
            wh[i], wl[i] = word(message, block + (i - 1) * 8), word(message, block + (i - 1) * 8 + 4)
        end
        for i = 17, 80 do
            local ah, al = sigma(wh[i - 15], wl[i - 15], 1, 8, 7, true)
            local bh, bl = sigma(wh[i - 2], wl[i - 2], 19, 61, 6, true)
            local h, l = add(wh[i - 16], wl[i - 16], ah, al)
            h, l = add(h, l, wh[i - 7], wl[i - 7])
            wh[i], wl[i] = add(h, l, bh, bl)
        end
        local sh, sl = {}, {}
        for i = 1, 8 do
            sh[i], sl[i] = hh[i], hl[i]
        end
        for i = 1, 80 do
            local th, tl = sigma(sh[5], sl[5], 14, 18, 41)
            th, tl = add(th, tl, sh[8], sl[8])
            local ch = bxor(band(sh[5], sh[6]), band(bnot(sh[5]), sh[7]))
            local cl = bxor(band(sl[5], sl[6]), band(bnot(sl[5]), sl[7]))
            th, tl = add(th, tl, ch, cl)
            th, tl = add(th, tl, KH[i], KL[i])
            th, tl = add(th, tl, wh[i], wl[i])
            local uh, ul = sigma(sh[1], sl[1], 28, 34, 39)
            local mh = bxor(band(sh[1], sh[2]), band(sh[1], sh[3]), band(sh[2], sh[3]))
            local ml = bxor(band(sl[1], sl[2]), band(sl[1], sl[3]), band(sl[2], sl[3]))
            uh, ul = add(uh, ul, mh, ml)
            for j = 8, 2, -1 do
                sh[j], sl[j] = sh[j - 1], sl[j - 1]
            end
            sh[5], sl[5] = add(sh[5], sl[5], th, tl)
            sh[1], sl[1] = add(th, tl, uh, ul)
        end
        for i = 1, 8 do
            hh[i], hl[i] = add(hh[i], hl[i], sh[i], sl[i])
        end
    end
    local out = {}
    for i = 1, 8 do
        out[i] = octets_of(hh[i]) .. octets_of(hl[i])
    end
    return table.concat(out)
end

-- FIPS 202. Lanes are little endian and numbered x + 5 y; constants and offsets come from the rules that define them.
local ROUNDS, OFFSETS = {}, { [0] = 0 }
do
    local register = 1
    for round = 1, 24 do
        local high, low = 0, 0
        for j = 0, 6 do
            if band(register, 1) == 1 then
                local place = 2 ^ j - 1
                if place >= 32 then
                    high = bxor(high, lshift(1, place - 32))
                else
                    low = bxor(low, lshift(1, place))
                end
            end
            register = register * 2
            if register > 255 then
                register = bxor(register, 0x171)
            end
        end
        ROUNDS[round] = { high, low }
    end
    local x, y = 1, 0
    for t = 0, 23 do
        OFFSETS[x + 5 * y] = (t + 1) * (t + 2) / 2 % 64
        x, y = y, (2 * x + 3 * y) % 5
    end
end

local function rotated_left(high, low, count)
    if count == 0 then
        return high, low
    end
    return rotated(high, low, 64 - count)
end

local function keccak(h, l)
    for round = 1, 24 do
        local ch, cl = {}, {}
        for x = 0, 4 do
            ch[x] = bxor(h[x], h[x + 5], h[x + 10], h[x + 15], h[x + 20])
            cl[x] = bxor(l[x], l[x + 5], l[x + 10], l[x + 15], l[x + 20])
        end
        local bh, bl = {}, {}
        for x = 0, 4 do
            local rh, rl = rotated_left(ch[(x + 1) % 5], cl[(x + 1) % 5], 1)
            local dh, dl = bxor(ch[(x + 4) % 5], rh), bxor(cl[(x + 4) % 5], rl)
            for y = 0, 4 do
                local at = x + 5 * y
                local to = y + 5 * ((2 * x + 3 * y) % 5)
                bh[to], bl[to] = rotated_left(bxor(h[at], dh), bxor(l[at], dl), OFFSETS[at])
            end
        end
        for y = 0, 20, 5 do
            for x = 0, 4 do
                local one, two = y + (x + 1) % 5, y + (x + 2) % 5
                h[y + x] = bxor(bh[y + x], band(bnot(bh[one]), bh[two]))
                l[y + x] = bxor(bl[y + x], band(bnot(bl[one]), bl[two]))
            end
        end
        h[0], l[0] = bxor(h[0], ROUNDS[round][1]), bxor(l[0], ROUNDS[round][2])
    end
end

local RATE = 136

function hashes.sha3_256(message)
    local missing = RATE - #message % RATE
    local padding = missing == 1 and "\134" or "\6" .. ("\0"):rep(missing - 2) .. "\128"
    message = message .. padding
    local h, l = {}, {}
    for i = 0, 24 do
        h[i], l[i] = 0, 0
    end
    for block = 1, #message, RATE do
        for i = 0, RATE / 8 - 1 do
            local lane = message:sub(block + i * 8, block + i * 8 + 7):reverse()
            h[i], l[i] = bxor(h[i], word(lane, 1)), bxor(l[i], word(lane, 5))
        end
        keccak(h, l)
    end
    local out = {}
    for i = 0, 3 do
        out[i + 1] = (octets_of(h[i]) .. octets_of(l[i])):reverse()
    end
    return table.concat(out)
end

return hashes
