-- The envelope suites of draft-skex-dske, for the dissector alone: slow, not constant time, never to be used to protect anything.
-- (Lua in Wireshark 4.0 has no cryptography of its own.)

local folder = ...
local hashes, aeads = dofile(folder .. "hashes.lua"), dofile(folder .. "aeads.lua")

local function suite(hash, block, open)
    local own = { open = open }

    local function xor_each(octets, value)
        return (octets:gsub(".", function(octet)
            return string.char(bit.bxor(octet:byte(), value))
        end))
    end

    function own.hmac(key, message)
        if #key > block then
            key = hash(key)
        end
        key = key .. ("\0"):rep(block - #key)
        return hash(xor_each(key, 0x5c) .. hash(xor_each(key, 0x36) .. message))
    end

    -- RFC 5869.
    function own.extract(salt, secret)
        return own.hmac(salt, secret)
    end

    -- "Envelope suites", for 32 octets: one block of output, whatever the hash.
    function own.expand(prk, label, context)
        local info = "\0\32" .. string.char(#label) .. label .. "\0" .. string.char(#context) .. context
        return own.hmac(prk, info .. "\1"):sub(1, 32)
    end

    return own
end

return {
    suite(hashes.sha256, 64, aeads.aes256gcm),
    suite(hashes.sha256, 64, aeads.chacha20poly1305),
    suite(hashes.sha3_256, 136, aeads.aes256gcm),
    suite(hashes.sha3_256, 136, aeads.chacha20poly1305),
    suite(hashes.sha512, 128, aeads.aes256gcm),
}
