-- A Wireshark dissector for both protocols of SKEX: docs/draft-skex-unmediated.md and docs/draft-skex-dske.md.
--
--   tshark -X lua_script:skex.lua -r demo.pcap
--   tshark -X lua_script:skex.lua -o skexd.keys:demo.pcap.keys -r demo.pcap -O skexd
--
-- Neither protocol has a port of its own. Messages are recognised by type and length, which never coincide; sealed ones, which
-- anything could be, on endpoints where others were seen. "Decode As" (udp.port, skexu or skexd) says it by hand.
--
-- The key file holds a line for each link: client id, hub id, envelope suite, initial key. `skex demo --capture` writes one. It opens
-- envelopes of every suite whose HELLO and HELLO_REPLY are in the capture.

local folder = debug.getinfo(1, "S").source:sub(2):match("^(.*[/\\])") or ""
local suites = assert(loadfile(folder .. "crypto.lua"))(folder)

local skexu = Proto("skexu", "SKEX Unmediated Key Establishment")
local skexd = Proto("skexd", "SKEX Distributed Key Establishment")

local LIMIT = { unmediated = 256, dske = 2097152, suites = 8, extension = 56, hubs = 31, key = 1048576, name = 64, refill = 64, several = 8192 }

-- Fields ------------------------------------------------------------------------------------------------------------

local unpack = unpack or table.unpack

local function fields(proto, prefix, list)
    local made = {}
    for name, field in pairs(list) do
        made[name] = field[1](prefix .. "." .. name, field[2], unpack(field, 3))
        proto.fields[#proto.fields + 1] = made[name]
    end
    return made
end


local U8, U16, U32, OCTETS = ProtoField.uint8, ProtoField.uint16, ProtoField.uint32, ProtoField.bytes
local SUITES = {
    [1] = "SHA-256, AES-256-GCM",
    [2] = "SHA-256, ChaCha20-Poly1305",
    [3] = "SHA3-256, AES-256-GCM",
    [4] = "SHA3-256, ChaCha20-Poly1305",
    [5] = "SHA-512, AES-256-GCM",
}
local U_TYPES = {
    [1] = "First message",
    [2] = "Second message",
    [3] = "Third message",
    [4] = "Fourth message",
    [5] = "Third message, long",
    [6] = "Cookie message",
    [7] = "Stale notice",
}
local D_TYPES = { [1] = "HELLO", [2] = "HELLO_REPLY", [3] = "SEALED", [4] = "SEALED_FRESH", [5] = "HELLO_REQUEST" }
local INNER_TYPES = {
    [1] = "LEASE_REQUEST",
    [2] = "LEASE_GRANT",
    [3] = "LEASE_DENIED",
    [4] = "UPLOAD",
    [5] = "DELIVERY",
    [6] = "ANSWER",
    [7] = "BUSY",
    [8] = "CONFIRM",
    [9] = "FETCH",
    [10] = "FETCHED",
    [11] = "UPLOAD_SEALED",
    [12] = "DELIVERY_SEALED",
    [13] = "ANSWER_SEALED",
    [14] = "SEVERAL",
    [20] = "REFILL",
    [21] = "REFILLED",
    [30] = "LOOKUP",
    [31] = "PUBLISH",
    [32] = "WITHDRAW",
    [33] = "AUTHORISE",
    [34] = "OUTCOME",
}
-- What may be in a SEVERAL.
local ABOUT_KEYS = { [4] = true, [5] = true, [6] = true, [7] = true, [8] = true, [11] = true, [12] = true, [13] = true }
local KEY_SUITES = { [1] = "ITS", [2] = "AES-256-GCM", [3] = "ChaCha20-Poly1305" }
local STATUSES = {
    [0] = "ACCEPTED",
    [1] = "UNKNOWN_PEER",
    [2] = "NOT_AUTHORISED",
    [3] = "KEY_ID_IN_USE",
    [4] = "EXPIRED",
    [5] = "POLICY",
    [6] = "TOO_MANY_WAITING",
    [7] = "MALFORMED_CONTEXT",
    [8] = "WITHDRAWN",
}
local OUTCOMES = { [0] = "DONE", [1] = "UNKNOWN", [2] = "SENT", [3] = "ANSWERED", [4] = "TOO_MANY" }
local YES = { [0] = "no", [1] = "yes" }

local u = fields(skexu, "skexu", {
    version = { U8, "Version", base.DEC, nil, 0xf0 },
    type = { U8, "Type", base.DEC, U_TYPES, 0x0f },
    flags = { U8, "Flags", base.HEX },
    void = { ProtoField.bool, "Session void or over", 8, nil, 0x01 },
    stateless = { ProtoField.bool, "Answer with the long third message", 8, nil, 0x02 },
    pseudonym = { OCTETS, "Pseudonym of the initiator" },
    attempt = { OCTETS, "Attempt (first octets of the initiator's nonce)" },
    initiator_nonce = { OCTETS, "Nonce of the initiator" },
    round = { U32, "Round (last octets of the nonce)" },
    responder_nonce = { OCTETS, "Nonce of the responder" },
    suite_count = { U8, "Number of suites" },
    suite = { U8, "Suite", base.HEX, SUITES },
    extension_length = { U8, "Length of the extension block" },
    extension = { OCTETS, "Extension block" },
    mix_offer = { OCTETS, "Reference to fresh secret material" },
    mix_choice = { U8, "Chosen reference" },
    status = { U8, "Status", base.DEC, { [0] = "good", [1] = "void" } },
    tag = { OCTETS, "Tag" },
    guard = { OCTETS, "Guard tag" },
    cookie_length = { U8, "Length of the cookie" },
    cookie = { OCTETS, "Cookie" },
})

local d = fields(skexd, "skexd", {
    version = { U8, "Version", base.DEC, nil, 0xf0 },
    type = { U8, "Type", base.DEC, D_TYPES, 0x0f },
    client_id = { U32, "Client id" },
    salt_c = { OCTETS, "Salt of the client" },
    salt_h = { OCTETS, "Salt of the hub" },
    seq = { U32, "Sequence number" },
    ciphertext = { OCTETS, "Ciphertext" },
    aead_tag = { OCTETS, "AEAD tag" },
    tag = { OCTETS, "Tag" },
    hub_id = { OCTETS, "Hub id, by the key file" },
    direction = { U8, "Direction", base.DEC, { [0] = "uplink", [1] = "downlink" } },
    inner = { U8, "Inner message", base.DEC, INNER_TYPES },
    table = { U16, "Table" },
    nonce = { OCTETS, "Nonce" },
    mark = { U32, "Mark" },
    want = { U32, "Wanted elements" },
    start = { U32, "Start of the lease" },
    ["end"] = { U32, "End of the lease" },
    index = { U32, "Index of the block" },
    number = { U8, "Number in the epoch" },
    floor = { U32, "Floor" },
    key_id = { OCTETS, "Key id" },
    peer = { OCTETS, "Client tag of the peer" },
    suite = { U8, "Suite of the key", base.DEC, KEY_SUITES },
    threshold = { U8, "Threshold k" },
    hubs = { U8, "Number of hubs n" },
    key_length = { U32, "Length of the key" },
    lifetime = { U16, "Lifetime, seconds" },
    coordinate = { U8, "Coordinate" },
    origins = { OCTETS, "Origins" },
    lying = { OCTETS, "Lying" },
    secret_tag = { OCTETS, "Secret tag o" },
    share = { OCTETS, "Share, masked or sealed" },
    status = { U8, "Status", base.DEC, STATUSES },
    confirmation_tag = { OCTETS, "Tag of the responder" },
    table_direction = { U8, "Direction of the table", base.DEC, { [0] = "uplink", [1] = "downlink" } },
    elements = { U32, "Elements of the whole table" },
    first = { U32, "First element that is here" },
    pad = { OCTETS, "Elements" },
    next = { U32, "Next element that is wanted" },
    name = { ProtoField.string, "Name" },
    allowed = { U8, "Allowed", base.DEC, YES },
    client_tag = { OCTETS, "Client tag" },
    outcome = { U8, "Outcome", base.DEC, OUTCOMES },
    minimum_threshold = { U8, "Smallest threshold" },
    information_theoretic = { U8, "Information-theoretic keys only", base.DEC, YES },
    maximum_lifetime = { U16, "Longest lifetime, seconds" },
    suite_count = { U8, "Number of suites" },
    waiting = { U16, "Shares that wait" },
    message_length = { U16, "Length of the message" },
    message = { OCTETS, "Message" },
})

local function malformed(name)
    return ProtoExpert.new(name .. ".malformed", "Malformed message", expert.group.MALFORMED, expert.severity.ERROR)
end
local expert_of = { [skexu] = malformed("skexu"), [skexd] = malformed("skexd") }
local closed = ProtoExpert.new(
    "skexd.closed",
    "No key of the key file opens this envelope",
    expert.group.DECRYPTION,
    expert.severity.NOTE
)
skexu.experts = { expert_of[skexu] }
skexd.experts = { expert_of[skexd], closed }

skexd.prefs.keys = Pref.string("Key file", "", "Lines of: client id, hub id, envelope suite, initial key (hexadecimal)")

-- A cursor that refuses ------------------------------------------------------------------------------------------------

local MALFORMED = {}

local function refuse(what)
    error(setmetatable({ what = what }, MALFORMED), 0)
end

local Cursor = {}
Cursor.__index = Cursor

function Cursor.new(tvb, tree)
    return setmetatable({ tvb = tvb, tree = tree, at = 0 }, Cursor)
end

function Cursor:left()
    return self.tvb:len() - self.at
end

function Cursor:take(field, length, unsigned)
    if length > self:left() then
        refuse("octets are missing")
    end
    local range = self.tvb(self.at, length)
    self.at = self.at + length
    if length == 0 then
        return "", nil
    end
    local item = self.tree:add(field, range)
    if unsigned then
        return range:uint(), item
    end
    return range:bytes():raw(), item
end

function Cursor:number(field, length)
    return self:take(field, length, true)
end

function Cursor:finish()
    if self:left() > 0 then
        refuse(self:left() .. " octets are left over")
    end
end

-- Octet 0: version and type.
function Cursor:head(list, types)
    local first = self.tvb(0, 1)
    self.tree:add(list.version, first)
    self.tree:add(list.type, first)
    self.at = 1
    local octet = first:uint()
    if bit.rshift(octet, 4) ~= 1 then
        refuse("unknown version")
    end
    local kind = bit.band(octet, 15)
    if not types[kind] then
        refuse("unknown type")
    end
    return kind
end

-- Runs `read`, marks what it refuses. True where nothing was wrong.
local function marked(proto, tree, pinfo, read)
    local fine, problem = pcall(read)
    if fine then
        return true
    end
    if getmetatable(problem) ~= MALFORMED then
        error(problem, 0)
    end
    tree:add_proto_expert_info(expert_of[proto], "Malformed: " .. problem.what)
    pinfo.cols.info:append(" [malformed: " .. problem.what .. "]")
    return false
end

-- Unmediated -----------------------------------------------------------------------------------------------------------

local function u_flags(c, known)
    local flags, item = c:number(u.flags, 1)
    if known >= 1 then
        item:add(u.void, c.tvb(c.at - 1, 1))
    end
    if known >= 2 then
        item:add(u.stateless, c.tvb(c.at - 1, 1))
    end
    if flags > known then
        refuse("unknown flag")
    end
end

local function u_suite(c)
    if c:number(u.suite, 1) == 0 then
        refuse("suite 0 is none")
    end
end

local function u_offer(c)
    local count = c:number(u.suite_count, 1)
    if count < 1 or count > LIMIT.suites then
        refuse("an offer has 1 to 8 suites")
    end
    local seen = {}
    for _ = 1, count do
        local suite = c:number(u.suite, 1)
        if suite == 0 or seen[suite] then
            refuse("an offer holds no suite twice, and none that is 0")
        end
        seen[suite] = true
    end
end

local function u_extension(c, part)
    local length = c:number(u.extension_length, 1)
    if length > LIMIT.extension then
        refuse("an extension block has at most 56 octets")
    end
    local _, item = c:take(u.extension, length)
    local from = c.at - length
    if part == "first" and length == 16 then
        item:add(u.mix_offer, c.tvb(from, 8))
        item:add(u.mix_offer, c.tvb(from + 8, 8))
    elseif part == "second" and length == 1 then
        item:add(u.mix_choice, c.tvb(from, 1))
    end
end

local function u_initiator_nonce(c)
    local _, item = c:take(u.initiator_nonce, 16)
    item:add(u.round, c.tvb(c.at - 4, 4))
end

local U_READERS = {
    [1] = function(c)
        u_flags(c, 1)
        c:take(u.pseudonym, 8)
        u_initiator_nonce(c)
        u_offer(c)
        u_extension(c, "first")
        c:take(u.tag, 16)
        if c:left() > 0 then
            if c:number(u.cookie_length, 1) ~= 16 then
                refuse("a cookie has 16 octets")
            end
            c:take(u.cookie, 16)
        end
    end,
    [2] = function(c)
        u_flags(c, 3)
        c:take(u.attempt, 8)
        c:take(u.responder_nonce, 16)
        u_suite(c)
        u_extension(c, "second")
        c:take(u.tag, 16)
    end,
    [4] = function(c)
        u_flags(c, 0)
        c:take(u.pseudonym, 8)
        if c:number(u.status, 1) > 1 then
            refuse("unknown status")
        end
        c:take(u.tag, 16)
    end,
    [6] = function(c)
        u_flags(c, 0)
        c:take(u.attempt, 8)
        c:take(u.cookie, 16)
    end,
    [7] = function(c)
        u_flags(c, 0)
        c:take(u.attempt, 8)
        c:take(u.tag, 16)
    end,
}

U_READERS[3] = function(c)
    u_flags(c, 0)
    c:take(u.pseudonym, 8)
    u_extension(c, "third")
    c:take(u.tag, 16)
end

U_READERS[5] = function(c)
    U_READERS[3](c)
    u_flags(c, 1)
    u_initiator_nonce(c)
    u_offer(c)
    u_extension(c, "first")
    u_flags(c, 3)
    c:take(u.responder_nonce, 16)
    u_suite(c)
    u_extension(c, "second")
    c:take(u.guard, 8)
end

function skexu.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then
        return 0
    end
    pinfo.cols.protocol = "SKEX-U"
    local kind = bit.band(tvb(0, 1):uint(), 15)
    pinfo.cols.info = U_TYPES[kind] or "unknown"
    local tree = root:add(skexu, tvb(), "SKEX unmediated, " .. (U_TYPES[kind] or "unknown"))
    marked(skexu, tree, pinfo, function()
        if tvb:len() > LIMIT.unmediated then
            refuse("no message has more than 256 octets")
        end
        local c = Cursor.new(tvb, tree)
        U_READERS[c:head(u, U_TYPES)](c)
        c:finish()
    end)
    return tvb:len()
end

-- DSKE: inner messages -------------------------------------------------------------------------------------------------

local function bitmap_fits(bitmap, hubs)
    return hubs % 8 == 0 or bit.rshift(bitmap:byte(#bitmap), hubs % 8) == 0
end

local function d_position(c, sealed)
    c:number(d.table, 2)
    c:number(d.index, 4)
    if sealed then
        c:number(d.number, 1)
    end
end

local function d_share(kind)
    return function(c)
        d_position(c, kind > 10)
        c:number(d.floor, 4)
        c:take(d.key_id, 16)
        c:take(d.peer, 16)
        c:number(d.suite, 1)
        local threshold = c:number(d.threshold, 1)
        local hubs = c:number(d.hubs, 1)
        if hubs > LIMIT.hubs or threshold < 2 or threshold > hubs then
            refuse("threshold and number of hubs do not fit")
        end
        local key = c:number(d.key_length, 4)
        if key < 16 or key > LIMIT.key then
            refuse("a key has 16 to 1,048,576 octets")
        end
        if c:number(d.lifetime, 2) == 0 then
            refuse("no lifetime")
        end
        local last = 0
        for _ = 1, hubs do
            local coordinate = c:number(d.coordinate, 1)
            if coordinate <= last then
                refuse("coordinates ascend from 1 on")
            end
            last = coordinate
        end
        if not bitmap_fits(c:take(d.origins, math.ceil(hubs / 8)), hubs) then
            refuse("a bit of no hub is set")
        end
        c:take(d.secret_tag, 16)
        local length = c:left() - 16
        local full = 16 * (5 + math.ceil(key / 16))
        if length ~= full and not (kind == 4 and length == 0) then
            refuse("the share has not the length that the key demands")
        end
        c:take(d.share, length)
        c:take(d.tag, 16)
    end
end

-- `length` octets: two bitmaps and a tag.
local function d_confirmation(c, length)
    local bitmap = (length - 16) / 2
    if bitmap < 1 or bitmap > 4 or bitmap % 1 ~= 0 then
        refuse("a confirmation of no possible length")
    end
    c:take(d.origins, bitmap)
    c:take(d.lying, bitmap)
    c:take(d.confirmation_tag, 16)
end

local function d_answer(sealed)
    return function(c)
        d_position(c, sealed)
        local status = c:number(d.status, 1)
        local length = c:left() - 16
        if length ~= 0 then
            if status ~= 0 then
                refuse("a refusal with a confirmation")
            end
            d_confirmation(c, length)
        end
        c:take(d.tag, 16)
    end
end

-- LOOKUP, PUBLISH, WITHDRAW, AUTHORISE: a block, and before the tag a body of `length` octets.
local function d_command(body)
    return function(c)
        d_position(c, false)
        c:number(d.floor, 4)
        body(c, c:left() - 16)
        c:take(d.tag, 16)
    end
end

local function d_direction(c)
    if c:number(d.table_direction, 1) > 1 then
        refuse("a direction is 0 or 1")
    end
end

local function d_yes(c, field)
    if c:number(field, 1) > 1 then
        refuse("neither 0 nor 1")
    end
end

-- So many octets, strictly ascending from 1 on.
local function d_ascending(c, field, count)
    local last = 0
    for _ = 1, count do
        local value = c:number(field, 1)
        if value <= last then
            refuse("suites and coordinates ascend from 1 on")
        end
        last = value
    end
end

local function d_offer(c)
    local threshold = c:number(d.minimum_threshold, 1)
    d_yes(c, d.information_theoretic)
    if c:number(d.maximum_lifetime, 2) == 0 then
        refuse("no lifetime")
    end
    local suites = c:number(d.suite_count, 1)
    if suites < 1 or suites > LIMIT.suites then
        refuse("an offer has 1 to 8 suites")
    end
    d_ascending(c, d.suite, suites)
    local hubs = c:number(d.hubs, 1)
    if hubs < 2 or hubs > LIMIT.hubs or threshold < 2 or threshold > hubs then
        refuse("threshold and number of hubs do not fit")
    end
    d_ascending(c, d.coordinate, hubs)
end

local INNER_READERS = {
    [1] = function(c)
        c:number(d.table, 2)
        c:take(d.nonce, 16)
        c:number(d.mark, 4)
        c:number(d.want, 4)
    end,
    [2] = function(c)
        c:number(d.table, 2)
        c:take(d.nonce, 16)
        local from = c:number(d.start, 4)
        if c:number(d["end"], 4) - from < 2 then
            refuse("a lease of less than two elements")
        end
        c:take(d.tag, 16)
    end,
    [3] = function(c)
        c:number(d.table, 2)
        c:take(d.nonce, 16)
        c:number(d.mark, 4)
    end,
    [4] = d_share(4),
    [5] = d_share(5),
    [6] = d_answer(false),
    [7] = function(c)
        d_position(c, false)
    end,
    [8] = function(c)
        c:take(d.key_id, 16)
        c:take(d.peer, 16)
        d_confirmation(c, c:left())
    end,
    [9] = function() end,
    [10] = function(c)
        c:number(d.waiting, 2)
    end,
    [11] = d_share(11),
    [12] = d_share(12),
    [13] = d_answer(true),
    [20] = function(c)
        d_direction(c)
        c:number(d.table, 2)
        local elements = c:number(d.elements, 4)
        local first = c:number(d.first, 4)
        local length = c:left()
        if length < 16 or length > 16 * LIMIT.refill or length % 16 ~= 0 then
            refuse("a refill brings 1 to 64 whole elements")
        end
        if first + length / 16 > elements then
            refuse("elements beyond the end of the table")
        end
        c:take(d.pad, length)
    end,
    [21] = function(c)
        d_direction(c)
        c:number(d.table, 2)
        c:number(d.next, 4)
    end,
    [30] = d_command(function(c, length)
        if length < 1 or length > LIMIT.name then
            refuse("a name has 1 to 64 octets")
        end
        c:take(d.name, length)
    end),
    [31] = d_command(function(c, length)
        if length ~= 0 then
            d_offer(c)
        end
    end),
    [32] = d_command(function(c)
        c:take(d.key_id, 16)
    end),
    [33] = d_command(function(c)
        d_yes(c, d.allowed)
        c:take(d.client_tag, 16)
    end),
    [34] = function(c)
        d_position(c, false)
        local status = c:number(d.outcome, 1)
        if c:left() ~= 16 then
            c:take(d.client_tag, 16)
            if c:left() ~= 16 then
                d_offer(c)
            end
            if status ~= 0 then
                refuse("somebody found beside another status than DONE")
            end
        end
        c:take(d.tag, 16)
    end,
}

local d_message

-- A frame that is wrong is refused before anything in it is looked at. Of the messages, each is refused alone.
local function d_several(c, pinfo)
    if c.tvb:len() > LIMIT.several then
        refuse("more than 8192 octets")
    end
    local messages, at = {}, c.at
    while at < c.tvb:len() do
        local length = at + 2 <= c.tvb:len() and c.tvb(at, 2):uint() or refuse("octets are left over")
        if length == 0 or at + 2 + length > c.tvb:len() then
            refuse("a message of no octets, or one that is not whole")
        end
        if not ABOUT_KEYS[c.tvb(at + 2, 1):uint()] then
            refuse("a message that may not be among several")
        end
        messages[#messages + 1] = length
        at = at + 2 + length
    end
    if #messages < 2 then
        refuse("fewer than two messages")
    end
    for _, length in ipairs(messages) do
        c:number(d.message_length, 2)
        local _, item = c:take(d.message, length)
        d_message(c.tvb(c.at - length, length):tvb(), pinfo, item)
    end
end

function d_message(tvb, pinfo, tree)
    local kind = tvb(0, 1):uint()
    local name = INNER_TYPES[kind] or "unknown"
    local inner = tree:add(skexd, tvb(), "Inner message, " .. name)
    pinfo.cols.info:append(", " .. name)
    inner:add(d.inner, tvb(0, 1))
    marked(skexd, inner, pinfo, function()
        local read = INNER_READERS[kind] or refuse("unknown inner type")
        local c = Cursor.new(tvb, inner)
        c.at = 1
        read(c, pinfo)
        c:finish()
    end)
end

INNER_READERS[14] = d_several

-- DSKE: envelopes ------------------------------------------------------------------------------------------------------

-- Links of the key file; salts of hellos and sessions by link; what was opened by packet; endpoints by address.
local links, opened, endpoints = {}, {}, {}

local function from_hex(text)
    return (text:gsub("%x%x", function(pair)
        return string.char(tonumber(pair, 16))
    end))
end

local function u32(value)
    return string.char(bit.rshift(value, 24), bit.band(bit.rshift(value, 16), 255), bit.band(bit.rshift(value, 8), 255), bit.band(value, 255))
end

local function read_keys()
    links = {}
    local file = skexd.prefs.keys ~= "" and io.open(skexd.prefs.keys)
    if not file then
        return
    end
    for line in file:lines() do
        local client, hub, suite, key = line:match("^(%d+)%s+(%x+)%s+(%d+)%s+(%x+)%s*$")
        local crypto = suite and suites[tonumber(suite)]
        if crypto and #hub == 32 and #key == 64 then
            local link = { client = tonumber(client), hub = from_hex(hub), key = from_hex(key), salts = {}, sessions = {} }
            local prk = crypto.extract("", link.key)
            link.crypto = crypto
            link.hello = crypto.expand(prk, "skex d1 hi client", link.hub)
            link.reply = crypto.expand(prk, "skex d1 hi hub", link.hub)
            links[#links + 1] = link
        end
    end
    file:close()
end

function skexd.init()
    opened, endpoints = {}, {}
    read_keys()
end

local function each_link(client)
    local found = {}
    for _, link in ipairs(links) do
        if link.client == client then
            found[#found + 1] = link
        end
    end
    return found
end

local function note_hello(client, body, salt, tag)
    for _, link in ipairs(each_link(client)) do
        if link.crypto.hmac(link.hello, body):sub(1, 16) == tag then
            table.insert(link.salts, 1, salt)
            return link
        end
    end
end

local function note_reply(client, body, salt_h, tag)
    for _, link in ipairs(each_link(client)) do
        local crypto = link.crypto
        for _, salt_c in ipairs(link.salts) do
            if crypto.hmac(link.reply, salt_c .. body):sub(1, 16) == tag then
                local prk = crypto.extract(salt_c .. salt_h, link.key)
                local context = u32(client) .. link.hub
                table.insert(link.sessions, 1, {
                    link = link,
                    [0] = crypto.expand(prk, "skex d1 env hub", context),
                    [1] = crypto.expand(prk, "skex d1 env cl", context),
                })
                return link
            end
        end
    end
end

-- What is in an envelope, of which link, in which direction.
local function open(client, seq, aad, ciphertext, tag)
    for _, link in ipairs(each_link(client)) do
        for _, session in ipairs(link.sessions) do
            for direction = 0, 1 do
                local inner = link.crypto.open(session[direction], ("\0"):rep(8) .. u32(seq), aad, ciphertext, tag)
                if inner then
                    return { inner = inner, link = link, direction = direction }
                end
            end
        end
    end
    return { none = true }
end

local function add_link(tree, link)
    if link then
        tree:add(d.hub_id, ByteArray.new(link.hub, true):tvb("Hub id")()):set_generated()
    end
end

local D_READERS = {
    [1] = function(c, client, raw, pinfo)
        local salt = c:take(d.salt_c, 16)
        local tag = c:take(d.tag, 16)
        opened[pinfo.number] = opened[pinfo.number] or { link = note_hello(client, raw:sub(1, 21), salt, tag) }
        add_link(c.tree, opened[pinfo.number].link)
    end,
    [2] = function(c, client, raw, pinfo)
        local salt = c:take(d.salt_h, 16)
        local tag = c:take(d.tag, 16)
        opened[pinfo.number] = opened[pinfo.number] or { link = note_reply(client, raw:sub(1, 21), salt, tag) }
        add_link(c.tree, opened[pinfo.number].link)
    end,
    [5] = function(c)
        c:take(d.tag, 16)
    end,
}

local function d_sealed(c, client, raw, pinfo)
    local seq = c:number(d.seq, 4)
    local aad = raw:sub(1, c.at)
    local length = c:left() - 16
    if length < 1 then
        refuse("nothing inside")
    end
    local ciphertext = c:take(d.ciphertext, length)
    local tag = c:take(d.aead_tag, 16)
    if #links == 0 then
        return
    end
    local found = opened[pinfo.number] or open(client, seq, aad, ciphertext, tag)
    opened[pinfo.number] = found
    if found.none then
        c.tree:add_proto_expert_info(closed)
        return
    end
    add_link(c.tree, found.link)
    c.tree:add(d.direction, found.direction):set_generated()
    d_message(ByteArray.new(found.inner, true):tvb("SKEX inner message"), pinfo, c.tree)
end

D_READERS[3] = d_sealed
D_READERS[4] = function(c, client, raw, pinfo)
    c:take(d.salt_c, 16)
    d_sealed(c, client, raw, pinfo)
end

function skexd.dissector(tvb, pinfo, root)
    if tvb:len() == 0 then
        return 0
    end
    pinfo.cols.protocol = "SKEX-D"
    local kind = bit.band(tvb(0, 1):uint(), 15)
    pinfo.cols.info = D_TYPES[kind] or "unknown"
    local tree = root:add(skexd, tvb(), "SKEX DSKE, " .. (D_TYPES[kind] or "unknown"))
    marked(skexd, tree, pinfo, function()
        if tvb:len() > LIMIT.dske then
            refuse("no message has more than 2,097,152 octets")
        end
        local c = Cursor.new(tvb, tree)
        local read = D_READERS[c:head(d, D_TYPES)]
        local client = c:number(d.client_id, 4)
        read(c, client, tvb:raw(), pinfo)
        c:finish()
    end)
    return tvb:len()
end

-- Which protocol a datagram is of --------------------------------------------------------------------------------------

-- By type and length alone; nil for sealed messages, which have no length of their own.
local function certain(tvb)
    local length, first = tvb:len(), tvb(0, 1):uint()
    if length < 21 or bit.rshift(first, 4) ~= 1 then
        return nil
    end
    local kind, flags = bit.band(first, 15), tvb(1, 1):uint()
    if (kind <= 2 and length == 37) or (kind == 5 and length == 21) then
        return kind > 0 and skexd or nil
    end
    if kind == 1 and length >= 45 and length <= LIMIT.unmediated and flags <= 1 and tvb(26, 1):uint() <= 8 then
        return skexu
    end
    if kind == 2 and length >= 44 and length <= 100 and flags <= 3 and tvb(27, 1):uint() == length - 44 then
        return skexu
    end
    if (kind == 3 or kind == 4) and length == 27 and flags == 0 and tvb(10, 1):uint() <= 1 then
        return skexu
    end
    if kind == 5 and length >= 74 and length <= LIMIT.unmediated and flags == 0 then
        return skexu
    end
    return (kind == 6 or kind == 7) and length == 26 and flags == 0 and skexu or nil
end

local function endpoint(address, port)
    return tostring(address) .. " " .. port
end

local function heuristic(tvb, pinfo, root)
    if tvb:len() == 0 then
        return false
    end
    local ends = { endpoint(pinfo.src, pinfo.src_port), endpoint(pinfo.dst, pinfo.dst_port) }
    local proto = endpoints[ends[1]] or endpoints[ends[2]] or certain(tvb)
    if not proto then
        return false
    end
    for _, name in ipairs(ends) do
        endpoints[name] = endpoints[name] or proto
    end
    proto.dissector(tvb, pinfo, root)
    return true
end

skexd:register_heuristic("udp", heuristic)
for _, proto in ipairs({ skexu, skexd }) do
    DissectorTable.get("udp.port"):add_for_decode_as(proto)
end
