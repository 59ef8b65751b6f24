//! Products that are in very many lists leave them all at once.

use std::collections::BTreeMap;

use endcap::{
    app,
    config::Flags,
    domain::{
        Caller, Changes, ChildId, ChildType, CollectionId, Draft, Kind, Locale, MapChange,
        Mutation, ProductId, Reason, TenantId, TextField,
    },
    service::{
        ChildMutation, CreateCollection, DeleteProducts, Include, Key, Parents, Service,
        UpdateCollection,
    },
    store::{
        DatabasePlace,
        Engine::{self, Postgres, Sqlite},
        Store, check,
        children::Children,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rstest::rstest;
use tempfile::TempDir;

use crate::postgres;

const LIST: ChildType = ChildType::Product;

async fn service(engine: Engine) -> (Service, Store, Caller, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut config = app::config(&Flags::default(), None).unwrap();
    config.database.place = match engine {
        Sqlite => DatabasePlace::File(folder.path().join("test.db")),
        Postgres => DatabasePlace::Url(postgres::new_database().await),
    };
    let store = Store::connect(&config.database).await.unwrap();
    store.migrate().await.unwrap();
    // So that a list of some products has several segments.
    let store = store.with_segment_target(4);
    let caller = Caller::operator(TenantId::trusted("default"));
    (app::service(&config, store.clone()), store, caller, folder)
}

fn id(number: usize) -> ChildId {
    ChildId::trusted(format!("p{number}"))
}

async fn make(service: &Service, caller: &Caller, name: &str, products: &[ChildId]) {
    let name_of = (
        (Locale::trusted("en"), TextField::DisplayName),
        name.to_owned(),
    );
    let command = CreateCollection {
        draft: Draft {
            id: Some(CollectionId::trusted(name)),
            kind: Kind::Manual,
            changes: Changes {
                texts: MapChange::to([name_of]),
                ..Changes::default()
            },
        },
        parents: Parents::None,
        products: products.iter().cloned().map(ProductId::from).collect(),
        include: Include::default(),
        retry: None,
    };
    service.execute(caller, command).await.unwrap();
}

async fn delete(service: &Service, caller: &Caller, numbers: &[usize]) -> Result<(), Reason> {
    let command = DeleteProducts {
        ids: numbers.iter().map(|n| ProductId::from(id(*n))).collect(),
        known_only: true,
        retry: None,
    };
    let done = service.execute(caller, command).await;
    done.map(drop).map_err(|error| error.reason)
}

/// Each list is that of the model, and all holds of it that must.
async fn compare(store: &Store, caller: &Caller, model: &BTreeMap<String, Vec<ChildId>>) {
    let tx = store.read(&caller.reading().unwrap()).await.unwrap();
    for (name, expected) in model {
        let collection = CollectionId::trusted(name.as_str());
        let list = Children::uncached(&tx, &collection, LIST);
        assert_eq!(&list.all().await.unwrap(), expected, "{name}");
        let problems = check::problems(&tx, &collection).await.unwrap();
        let problems: Vec<_> = problems.iter().map(|problem| &problem.what).collect();
        assert!(problems.is_empty(), "{name}: {problems:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn products_leave_many_lists_as_they_would_each(#[values(Sqlite, Postgres)] engine: Engine) {
    let (service, store, caller, _folder) = service(engine).await;
    let mut random = StdRng::seed_from_u64(5);
    let mut model = BTreeMap::new();
    for n in 0..100 {
        let mut ids: Vec<_> = (0..30).map(id).collect();
        ids.shuffle(&mut random);
        ids.truncate(random.random_range(1..=30));
        let name = format!("c{n:03}");
        make(&service, &caller, &name, &ids).await;
        model.insert(name, ids);
    }
    let names: Vec<String> = model.keys().cloned().collect();
    let versions = async || {
        let mut versions = BTreeMap::new();
        for name in &names {
            let key = Key::Id(CollectionId::trusted(name.as_str()));
            let detail = service.get_collection(&caller, key).await.unwrap();
            versions.insert(name.clone(), detail.collection.version);
        }
        versions
    };
    for numbers in [&[0][..], &[1, 2, 3, 4, 5, 6, 7, 8], &[9, 10]] {
        let before = versions().await;
        delete(&service, &caller, numbers).await.unwrap();
        let now = versions().await;
        for (name, ids) in &mut model.clone() {
            let had = ids.len();
            ids.retain(|one| numbers.iter().all(|n| *one != id(*n)));
            assert_eq!(now[name] > before[name], ids.len() < had, "{name}");
        }
        for ids in model.values_mut() {
            ids.retain(|one| numbers.iter().all(|n| *one != id(*n)));
        }
        compare(&store, &caller, &model).await;
        // What left everywhere is known nowhere.
        let again = delete(&service, &caller, &numbers[..1]).await;
        assert_eq!(again, Err(Reason::ProductNotFound));
    }
    // The lists go on: nothing that was remembered of them is another's.
    for (name, ids) in &mut model {
        let mutations = vec![
            ChildMutation {
                list: LIST,
                mutation: Mutation::append(vec![id(99), id(98)]),
            },
            ChildMutation {
                list: LIST,
                mutation: Mutation::remove(vec![id(98)]),
            },
        ];
        let command = UpdateCollection {
            mutations,
            ..UpdateCollection::of(CollectionId::trusted(name.as_str()))
        };
        service.execute(&caller, command).await.unwrap();
        ids.push(id(99));
    }
    compare(&store, &caller, &model).await;
}
