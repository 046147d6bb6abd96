//! References from one table to the devices of another: `"device/point"`, with the nearest name where there is none.

use std::ops::Range;
use std::sync::Arc;

use gatehouse_core::{DeviceIx, Kind};
use gatehouse_drivers::profile::Rule;
use gatehouse_drivers::profile::keys::{Found, Keys, did_you_mean};
use gatehouse_rules::PointRef;

use super::Context;
use crate::code;
use crate::site::{Device, PointConfig};

/// The devices that may be referred to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Devices<'a>(pub(super) &'a [Arc<Device>]);

impl<'a> Devices<'a> {
    /// The device with this id; noted when there is none.
    pub(super) fn device(
        self,
        context: &mut Context<'_>,
        id: &str,
        span: &Range<usize>,
    ) -> Option<(DeviceIx, &'a Device)> {
        let found = (0u32..).map(DeviceIx).zip(self.0).find(|(_, device)| device.id == *id);
        if found.is_none() {
            let known: Vec<&str> = self.0.iter().map(|device| device.id.as_str()).collect();
            let message = format!("there is no device `{id}`");
            context.sink.error(code::UNKNOWN_DEVICE, span.clone(), message, did_you_mean(id, &known));
        }
        found.map(|(ix, device)| (ix, &**device))
    }

    /// True for the box's own device.
    pub(super) fn is_own(self, ix: DeviceIx) -> bool {
        let device = usize::try_from(ix.0).ok().and_then(|at| self.0.get(at));
        device.is_some_and(|device| device.bus.is_none())
    }

    /// The point that `text` names; noted when there is none.
    pub(super) fn point(
        self,
        context: &mut Context<'_>,
        text: &str,
        span: &Range<usize>,
    ) -> Option<(PointRef, &'a PointConfig)> {
        let Some((id, name)) = text.split_once('/') else {
            let help = "write it as \"DEVICE/POINT\", for example \"garage-board/input1\"";
            context.sink.error(code::BAD_VALUE, span.clone(), format!("{text:?} names no point"), help);
            return None;
        };
        let (device, config) = self.device(context, id, span)?;
        let found = config.point_by_name(name);
        if found.is_none() {
            let known: Vec<&str> = config.points.iter().map(|point| point.spec.name.as_str()).collect();
            let message = format!("the device `{id}` has no point `{name}`");
            context.sink.error(code::UNKNOWN_POINT, span.clone(), message, did_you_mean(name, &known));
        }
        found.map(|(point, config)| (PointRef { device, point }, config))
    }

    /// The point that a key names.
    pub(super) fn point_at(
        self,
        context: &mut Context<'_>,
        keys: &mut Keys<'_, '_>,
        key: &'static str,
    ) -> Option<Found<(PointRef, &'a PointConfig)>> {
        let found = keys.text(key)?;
        let value = self.point(context, found.value, &found.span)?;
        Some(Found { value, span: found.span })
    }

    /// A switch that can be written; noted when the point is none.
    pub(super) fn switch_at(
        self,
        context: &mut Context<'_>,
        keys: &mut Keys<'_, '_>,
        key: &'static str,
    ) -> Option<Found<PointRef>> {
        let Found { value: (at, config), span } = self.point_at(context, keys, key)?;
        if config.spec.kind() != Kind::Bool || !config.spec.is_writable() {
            let message = format!("`{key}`: {} is no switch that can be written", config.spec.name);
            let help = "name a relay or a coil; `gatehouse profiles NAME` shows what can be written";
            keys.error(Rule::BadValue, span, message, help);
            return None;
        }
        Some(Found { value: at, span })
    }
}
