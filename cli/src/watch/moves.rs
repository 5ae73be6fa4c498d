//! Which types have another OID on another server.

use std::collections::HashMap;

use crate::catalog::Type;

/// By the type's name: its OID, and its array's.
pub(crate) type Oids = HashMap<String, (u32, u32)>;

pub(crate) fn by_name(types: &[Type]) -> Oids {
    types.iter().filter(|ty| ty.watched).map(|ty| (ty.qualified(), (ty.oid, ty.array))).collect()
}

/// Names of types that moved, of those whose OID is another type's now, and of those that are missing.
pub(crate) fn moves(before: &Oids, types: &[Type]) -> [Vec<String>; 3] {
    let after = by_name(types);
    let names: HashMap<u32, String> = types.iter().map(|ty| (ty.oid, ty.qualified())).collect();
    let [mut moved, mut collided, mut missing] = [const { Vec::new() }; 3];
    for (name, old) in before {
        match after.get(name) {
            None => missing.push(name.clone()),
            Some(new) if new != old => moved.push(name.clone()),
            Some(_) => {}
        }
        if names.get(&old.0).is_some_and(|other| other != name) {
            collided.push(name.clone());
        }
    }
    [&mut moved, &mut collided, &mut missing].into_iter().for_each(|names| names.sort());
    [moved, collided, missing]
}
