//! A hub that is connected to a service, an agent that listens, and what they say to each other.

use super::World;
use super::scene::{AGENT, answer, letters};
use super::services::{Kept, Scene, scene};
use patchbay::http::{Method, Response};
use serde_json::{Value, json};
use std::rc::Rc;

pub struct Talk {
    pub scene: &'static Scene,
    pub world: World,
    pub kept: Rc<Kept>,
    /// The connection's webhook.
    pub path: String,
}

impl Talk {
    pub fn of(name: &str) -> Self {
        Self::with(name, &json!({}), &[])
    }

    /// With `config` of the connection besides the usual, and an agent that is allowed these actions.
    pub fn with(name: &str, config: &Value, actions: &[&str]) -> Self {
        let (scene, world) = (scene(name), World::new());
        let kept = Rc::new(Kept::of(&world));
        for method in [Method::Get, Method::Post, Method::Put, Method::Patch] {
            let kept = kept.clone();
            world
                .net
                .on(method, "https://", move |request| match request.url == AGENT {
                    true => Ok(Response::empty(204)),
                    false => scene.answer(&kept, request),
                });
        }
        let path = scene.connect(&world, config);
        scene.agent(&world, actions);
        Self {
            scene,
            world,
            kept,
            path,
        }
    }

    /// What the service sends, and all that comes of it. Gives the event.
    pub fn deliver(&self, id: &str, payload: &Value) -> Value {
        let (status, event) = self.scene.deliver(&self.world, &self.path, id, payload);
        assert!([200, 202].contains(&status), "{}: {event}", self.scene.name);
        self.world.work();
        event
    }

    /// How many letters the agent has.
    pub fn heard(&self) -> usize {
        letters(&self.world).len()
    }

    pub fn letter(&self, n: usize) -> Value {
        letters(&self.world).into_iter().nth(n).unwrap_or_default()
    }

    /// The agent answers its letter number `n`, and all that comes of it.
    pub fn say(&self, n: usize, body: Value) -> Value {
        let (code, body) = answer(&self.world, &self.letter(n), body);
        assert_eq!(code, 202, "{body}");
        self.world.work();
        body
    }
}
