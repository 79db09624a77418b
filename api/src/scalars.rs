//! Scalars judged before execution, so that what is wrong is told with its place in the arguments.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::registry::{MetaType, Registry};
use async_graphql::{InputType, InputValueError, InputValueResult, ScalarType, Value};
use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Lets the schema judge the values of `UUID` and `DateTime`. The engine itself reads them only while
/// it executes, when it knows the place no more. It is no type of the schema's own.
pub struct Judged;

impl InputType for Judged {
    type RawValueType = Self;

    fn type_name() -> Cow<'static, str> {
        <Uuid as InputType>::type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        judge::<Uuid>(registry);
        judge::<DateTime<Utc>>(registry);
        Self::qualified_type_name()
    }

    fn parse(_: Option<Value>) -> InputValueResult<Self> {
        Err(InputValueError::custom("no field is of this type"))
    }

    fn to_value(&self) -> Value {
        Value::Null
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }
}

fn judge<T: ScalarType + InputType>(registry: &mut Registry) {
    let name = <T as InputType>::type_name();
    if let Some(MetaType::Scalar { is_valid, .. }) = registry.types.get_mut(name.as_ref()) {
        *is_valid = Some(Arc::new(|value| <T as ScalarType>::parse(value.clone()).is_ok()));
    }
}
