//! Keys for consumers: what an exporter gives for each protocol that takes a pre-shared key.

use alloc::string::String;

use crate::Hex;
use crate::common::{case, file, group};

case! {
    /// One exported key, with the identifier in the form that the consumer takes.
    ExportTest {
        /// The id of the output key, 16 octets.
        key_id: Hex,
        /// Its index.
        index: u64,
        /// Its secret.
        secret: Hex,
        /// Whether it is confirmed.
        confirmed: bool,
        /// 0 both ways, 1 from end A, 2 from end B.
        direction: u8,
        /// The number of the key.
        number: u32,
        /// What the consumer adds to the context.
        parameters: Hex,
        /// Octets of the key.
        length: u32,
        /// The pseudorandom key; `None` where nothing may be derived.
        prk: Option<Hex>,
        /// The key.
        key: Option<Hex>,
        /// The name, before it is put into a form.
        name_octets: Option<Hex>,
        /// The name in the form of the consumer.
        identifier: Option<Hex>,
    }
}

case! {
    /// An imported key of TLS.
    ImportTest {
        /// The id of the output key.
        key_id: Hex,
        /// Its index.
        index: u64,
        /// Its secret.
        secret: Hex,
        /// 1 where end A is the client, 2 where end B is.
        direction: u8,
        /// The number of the key.
        number: u32,
        /// 1 for a key alone, 2 with certificates.
        usage: u8,
        /// The context of the importer.
        context: Hex,
        /// target_protocol.
        protocol: u16,
        /// target_kdf.
        kdf: u16,
        /// The external key.
        epsk: Hex,
        /// ImportedIdentity, encoded.
        identity: Hex,
        /// The imported key.
        ipsk: Hex,
    }
}

case! {
    /// What MKA derives from an exported CAK.
    MkaTest {
        /// The id of the output key.
        key_id: Hex,
        /// Its index.
        index: u64,
        /// Its secret.
        secret: Hex,
        /// The number of the key.
        number: u32,
        /// Octets of the CAK.
        length: u32,
        /// The CAK.
        cak: Hex,
        /// The CKN.
        ckn: Hex,
        /// The key-encrypting key.
        kek: Hex,
        /// The integrity-check key.
        ick: Hex,
    }
}

case! {
    /// The ids of a TCP-AO master key tuple, and the traffic key of one direction.
    TcpAoTest {
        /// The id of the output key.
        key_id: Hex,
        /// Its index.
        index: u64,
        /// Its secret.
        secret: Hex,
        /// The number of the key.
        number: u32,
        /// The generation.
        generation: u64,
        /// 1 for HMAC-SHA-1, 2 for AES-128-CMAC.
        algorithm: u8,
        /// The address of the sender, 4 or 16 octets.
        source: Hex,
        /// The address of the receiver.
        destination: Hex,
        /// The port of the sender.
        source_port: u16,
        /// The port of the receiver.
        destination_port: u16,
        /// The initial sequence number of the sender.
        source_isn: u32,
        /// The initial sequence number of the receiver, 0 in a SYN.
        destination_isn: u32,
        /// SendID of end A, RecvID of end B.
        send_id: u8,
        /// RecvID of end A, SendID of end B.
        recv_id: u8,
        /// The master key.
        master_key: Hex,
        /// The traffic key.
        traffic_key: Hex,
    }
}

case! {
    /// A credential of EDHOC.
    EdhocTest {
        /// The id of the output key.
        key_id: Hex,
        /// Its index.
        index: u64,
        /// Its secret.
        secret: Hex,
        /// 1 where end A begins, 2 where end B does.
        direction: u8,
        /// The number of the key.
        number: u32,
        /// Who the credential names.
        subject: String,
        /// ID_CRED_PSK, the map.
        id_cred: Hex,
        /// ID_CRED_PSK, compact.
        id_cred_compact: Hex,
        /// CRED_I or CRED_R.
        credential: Hex,
    }
}

case! {
    /// A status datagram.
    StatusDatagramTest {
        /// The id of the output key.
        key_id: Hex,
        /// Its index.
        index: u64,
        /// Its secret.
        secret: Hex,
        /// The status, 90 octets.
        status: Hex,
        /// Who sends it: 1 for end A, 2 for end B.
        end: u8,
        /// The generation of the key.
        generation: u64,
        /// The name of the key under which it goes.
        key_name: Hex,
        /// The datagram.
        datagram: Hex,
    }
}

group! {
    /// Keys of one consumer.
    ExportGroup(ExportTest) {
        /// The label of the consumer.
        label: String,
    }
}

group! {
    /// Imported keys of TLS.
    ImportGroup(ImportTest) {}
}

group! {
    /// Keys of MKA.
    MkaGroup(MkaTest) {}
}

group! {
    /// Keys and ids of TCP-AO.
    TcpAoGroup(TcpAoTest) {}
}

group! {
    /// Credentials of EDHOC.
    EdhocGroup(EdhocTest) {}
}

group! {
    /// Status datagrams.
    StatusDatagramGroup(StatusDatagramTest) {}
}

file!("consumers", {
    /// Exported keys.
    Export(ExportGroup),
    /// Imported keys of TLS.
    Import(ImportGroup),
    /// Keys of MKA.
    Mka(MkaGroup),
    /// Keys and ids of TCP-AO.
    TcpAo(TcpAoGroup),
    /// Credentials of EDHOC.
    Edhoc(EdhocGroup),
    /// Status datagrams.
    StatusDatagram(StatusDatagramGroup),
});
