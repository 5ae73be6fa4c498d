//! The colours of the picture, and what a style sheet makes of them: hatchings, dashes, and a dark variant.
//!
//! The picture is drawn in plain colours. A style sheet inside it finds its elements by their colour, so each role has
//! a colour of its own.

use plotters::style::RGBColor;

pub(crate) const BACKGROUND: RGBColor = RGBColor(0xFF, 0xFF, 0xFF);
pub(crate) const INK: RGBColor = RGBColor(0x1F, 0x23, 0x28);
pub(crate) const MUTED: RGBColor = RGBColor(0x59, 0x63, 0x6E);
pub(crate) const GRID: RGBColor = RGBColor(0xE4, 0xE8, 0xEC);
pub(crate) const SWITCH: RGBColor = RGBColor(0x1F, 0x23, 0x29);
pub(crate) const RIGHT: RGBColor = RGBColor(0x8C, 0xC4, 0xB4);
pub(crate) const FAILED: RGBColor = RGBColor(0xE0, 0x56, 0x1F);
pub(crate) const WRONG: RGBColor = RGBColor(0x5B, 0x3F, 0xC0);
/// The texts and marks that belong to the two.
pub(crate) const FAILED_INK: RGBColor = RGBColor(0xB3, 0x3F, 0x0F);
pub(crate) const STOCK_LINE: RGBColor = RGBColor(0xB3, 0x40, 0x10);
pub(crate) const CHECKOUT_LINE: RGBColor = RGBColor(0x09, 0x69, 0xDA);
pub(crate) const VERIFIED_LINE: RGBColor = RGBColor(0x1A, 0x7F, 0x5A);

/// Goes into the picture, before its first element.
pub(crate) const STYLE: &str = r##"<defs>
<pattern id="failed" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<rect class="failed-ground" width="7" height="7"/><rect class="failed-stripe" width="3" height="7"/></pattern>
<pattern id="wrong" width="8" height="8" patternUnits="userSpaceOnUse">
<rect class="wrong-ground" width="8" height="8"/><circle class="wrong-dot" cx="2" cy="2" r="1.5"/>
<circle class="wrong-dot" cx="6" cy="6" r="1.5"/></pattern>
</defs>
<style>
text { font-family: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", Helvetica, Arial, sans-serif }
.failed-ground { fill: #FBE3D6 } .failed-stripe { fill: #E0561F }
.wrong-ground { fill: #5B3FC0 } .wrong-dot { fill: #FFFFFF }
[fill="#E0561F"] { fill: url(#failed); stroke: #E0561F; stroke-width: 1 }
[fill="#5B3FC0"] { fill: url(#wrong); stroke: #5B3FC0; stroke-width: 1 }
[stroke="#1F2329"] { stroke-dasharray: 5 3 }
[stroke="#B34010"] { stroke-dasharray: 2 4; stroke-linecap: round }
[stroke="#0969DA"] { stroke-dasharray: 9 4 }
@media (prefers-color-scheme: dark) {
[fill="#FFFFFF"] { fill: #0D1117 }
[fill="#1F2328"] { fill: #F0F6FC } [fill="#59636E"] { fill: #9198A1 }
[stroke="#1F2328"], [stroke="#1F2329"] { stroke: #F0F6FC } [stroke="#59636E"] { stroke: #9198A1 }
[stroke="#E4E8EC"] { stroke: #2A313A }
[fill="#8CC4B4"] { fill: #2B7A66 }
[fill="#B33F0F"] { fill: #FF9A66 } [stroke="#B33F0F"] { stroke: #FF9A66 }
[stroke="#B34010"] { stroke: #FF9A66 } [stroke="#0969DA"] { stroke: #6CB6FF } [stroke="#1A7F5A"] { stroke: #56D9A8 }
.failed-ground { fill: #3A1D10 } .failed-stripe { fill: #F0703A }
.wrong-ground { fill: #8F78F0 } .wrong-dot { fill: #0D1117 }
}
</style>
"##;
